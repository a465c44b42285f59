package mode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"sigill/internal/durable"
	"sigill/internal/strictjson"
	"sigill/policy"
)

const (
	// noticeFile announces an outage. It is a file and no row: planned work on
	// the database is announced while the database does not answer.
	noticeFile = "outage.json"
	// recordFile holds what of it was made an event last, so that a new process
	// does not record it again.
	recordFile = "outage.recorded"

	maxNotice = 16 << 10 // octets of the file
	maxReason = 500      // characters
)

// Notice announces a planned outage of issuing.
type Notice struct {
	ID    string    `json:"id"`
	Begun time.Time `json:"begun"`
	// Until is when it is expected to be over. It does not end by itself then:
	// who began it knows whether the work is done.
	Until    time.Time `json:"until"`
	ReasonSV string    `json:"reasonSv"`
	ReasonEN string    `json:"reasonEn"`
	By       string    `json:"by"` // account of who began it
	// Ended is when it was over; zero: it is in effect.
	Ended time.Time `json:"ended,omitzero"`
}

// Active reports whether the outage is in effect.
func (n Notice) Active() bool { return n.ID != "" && n.Ended.IsZero() }

// Text is what people are told of it, in Swedish or English: the reason, and
// when it is expected to be over as long as that lies ahead.
func (n Notice) Text(lang string, now time.Time) string {
	reason, until := n.ReasonEN, "Expected to be over at "
	if lang == "sv" {
		reason, until = n.ReasonSV, "Beräknas vara klart "
	}
	if !n.Until.After(now) {
		return reason
	}
	return strings.TrimSpace(reason + " " + until + n.Until.Format("2006-01-02 15:04 (-07:00)") + ".")
}

// check refuses what could not be shown to people.
func (n Notice) check() error {
	for _, reason := range []string{n.ReasonSV, n.ReasonEN} {
		if strings.TrimSpace(reason) == "" || len([]rune(reason)) > maxReason {
			return fmt.Errorf("a reason has 1 to %d characters, in Swedish and in English", maxReason)
		}
		if strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return errors.New("a reason is one line of visible characters")
		}
	}
	if n.ID == "" || n.Begun.IsZero() || n.Until.IsZero() {
		return errors.New("an outage has an id, a beginning and an expected end")
	}
	return nil
}

// ReadNotice reads the announcement in an installation's directory: the last one,
// in effect or ended. None is the zero Notice.
func ReadNotice(dir string) (Notice, error) {
	b, err := os.ReadFile(filepath.Join(dir, noticeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Notice{}, nil
	} else if err != nil {
		return Notice{}, err
	}
	return ParseNotice(b)
}

// ParseNotice reads an announcement strictly.
func ParseNotice(b []byte) (Notice, error) {
	var n Notice
	if len(b) > maxNotice {
		return n, fmt.Errorf("%s is larger than %d octets", noticeFile, maxNotice)
	}
	if err := strictjson.Unmarshal(b, &n); err != nil {
		return Notice{}, fmt.Errorf("%s: %w", noticeFile, err)
	}
	if err := n.check(); err != nil {
		return Notice{}, fmt.Errorf("%s: %w", noticeFile, err)
	}
	return n, nil
}

// Begin announces an outage of the installation in dir; one in effect is
// replaced. The id is given to it here.
func Begin(dir string, n Notice) (Notice, error) {
	n.ID, n.Ended = policy.NewID("out"), time.Time{}
	n.Begun, n.Until = n.Begun.Truncate(time.Second), n.Until.Truncate(time.Second)
	if !n.Until.After(n.Begun) {
		return n, errors.New("the expected end must lie ahead")
	}
	if err := n.check(); err != nil {
		return n, err
	}
	return n, write(dir, n)
}

// ErrNoOutage is returned where none is in effect.
var ErrNoOutage = errors.New("no outage is in effect")

// End ends the outage in effect.
func End(dir string, now time.Time) (Notice, error) {
	n, err := ReadNotice(dir)
	if err != nil {
		return n, err
	}
	if !n.Active() {
		return n, ErrNoOutage
	}
	n.Ended = now.Truncate(time.Second)
	return n, write(dir, n)
}

func write(dir string, n Notice) error {
	b, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, noticeFile), append(b, '\n'), 0o644)
}

// readRecorded returns the line that was kept. What cannot be read was not kept:
// an event twice is better than none.
func readRecorded(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

func writeRecorded(dir, line string) error {
	return durable.WriteFile(filepath.Join(dir, recordFile), []byte(line+"\n"), 0o644)
}
