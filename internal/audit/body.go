package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of an event. They keep a row readable and a page of rows small; what
// is longer than a field belongs in a table of its own, named by its hash.
const (
	maxFields = 64  // public and personal together
	maxName   = 64  // octets of a field's name
	maxID     = 128 // octets of ID and By
	// MaxValue is the most octets of a field's value.
	MaxValue = 4096
	// MaxBody is the most octets of a body: entry bundles of the log give its
	// length in two octets.
	MaxBody = 1<<16 - 1
)

// timeForm has exactly six digits after the point, so that a time has one form.
const timeForm = "2006-01-02T15:04:05.000000Z"

// Commitment stands in the chain for a personal field: it binds the value while
// the salt is kept, and says nothing about it once the salt is erased.
type Commitment struct {
	Name string
	HMAC [sha256.Size]byte
}

// Body is what the chain covers of an event.
type Body struct {
	ID          string
	At          time.Time
	Act         string
	By          string
	Public      []Field
	Commitments []Commitment
}

// EventID returns the id of the event of an act that happens once for its subject:
// "evt_" and the first 26 characters, in lower case, of the base32 of
// SHA-256(act ‖ 0x00 ‖ subject ‖ …), subjects separated by 0x00. Who knows the
// subject finds the event without another table, and a store that refuses an id
// twice refuses the act twice. Acts that can happen again have random ids.
func EventID(act string, subject ...string) string {
	h := sha256.New()
	h.Write([]byte(act))
	for _, s := range subject {
		h.Write([]byte{0})
		h.Write([]byte(s))
	}
	text := base32.StdEncoding.EncodeToString(h.Sum(nil))
	return "evt_" + strings.ToLower(text[:26])
}

// Seal checks an event and returns it as it is stored: with its canonical body,
// the body's leaf hash and a fresh salt for every personal field. At is cut to
// microseconds, the precision that both databases keep. An event without the fields
// of its act is refused, see [Check].
//
// Sealing one event twice gives two different records, because salts are drawn.
func Seal(e Event) (Record, error) {
	if err := Check(e); err != nil {
		return Record{}, err
	}
	return seal(e)
}

// seal is Seal for events with any fields.
func seal(e Event) (Record, error) {
	b := Body{ID: e.ID, At: e.At.UTC().Truncate(time.Microsecond), Act: e.Act, By: e.By, Public: e.Public}
	r := Record{ID: b.ID, At: b.At, Act: b.Act, By: b.By}
	for _, f := range e.Personal {
		if err := checkValue(f); err != nil {
			return Record{}, fmt.Errorf("event %s: personal field: %w", e.Act, err)
		}
		p := PersonalField{Name: f.Name, Value: f.Value}
		rand.Read(p.Salt[:])
		r.Personal = append(r.Personal, p)
		b.Commitments = append(b.Commitments, Commitment{Name: p.Name, HMAC: Commit(p)})
	}
	if err := b.check(); err != nil {
		return Record{}, fmt.Errorf("event %s: %w", e.Act, err)
	}
	r.Body = b.encode()
	if len(r.Body) > MaxBody {
		return Record{}, fmt.Errorf("event %s: its body has %d octets, more than %d", e.Act, len(r.Body), MaxBody)
	}
	r.Leaf = LeafHash(r.Body)
	return r, nil
}

// Commit returns the commitment to a personal field, HMAC-SHA-256 under its salt
// over name ‖ 0x00 ‖ value. The name is in it so that two values of one event
// cannot be exchanged; a name never holds 0x00.
func Commit(p PersonalField) [sha256.Size]byte {
	mac := hmac.New(sha256.New, p.Salt[:])
	mac.Write([]byte(p.Name))
	mac.Write([]byte{0})
	mac.Write([]byte(p.Value))
	return [sha256.Size]byte(mac.Sum(nil))
}

// LeafHash returns SHA-256(0x00 ‖ body). The prefixes of leaf and link differ so
// that a body cannot be made that is taken for a link (RFC 6962, 2.1).
func LeafHash(body []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(body)
	return [sha256.Size]byte(h.Sum(nil))
}

// chainHash returns the hash of link number over the hash before it and a leaf.
func chainHash(number int64, previous, leaf [sha256.Size]byte) [sha256.Size]byte {
	var in [1 + 8 + 2*sha256.Size]byte
	in[0] = 1
	binary.BigEndian.PutUint64(in[1:], uint64(number))
	copy(in[9:], previous[:])
	copy(in[9+sha256.Size:], leaf[:])
	return sha256.Sum256(in[:])
}

// check refuses what has no place in the chain.
func (b *Body) check() error {
	if !strings.HasPrefix(b.ID, "evt_") || len(b.ID) > maxID || !isName(b.ID) {
		return fmt.Errorf("id %q is not an event id", b.ID)
	}
	if _, ok := shapes[b.Act]; !ok {
		return errors.New("act is not in the list")
	}
	if b.By == "" || len(b.By) > maxID || !utf8.ValidString(b.By) {
		return errors.New("who did it is missing, too long or not UTF-8")
	}
	if y := b.At.Year(); b.At.IsZero() || y < 1 || y > 9999 {
		return errors.New("time is missing or cannot be written")
	}
	if len(b.Public)+len(b.Commitments) > maxFields {
		return fmt.Errorf("more than %d fields", maxFields)
	}
	var names []string
	for _, f := range b.Public {
		if err := checkValue(f); err != nil {
			return fmt.Errorf("public field: %w", err)
		}
		names = append(names, f.Name)
	}
	for _, c := range b.Commitments {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	for i, name := range names {
		if len(name) > maxName || !isName(name) {
			return fmt.Errorf("%q is no name of a field", name)
		}
		if i > 0 && names[i-1] == name {
			return fmt.Errorf("field %s is there twice", name)
		}
	}
	return nil
}

func checkValue(f Field) error {
	if len(f.Value) > MaxValue {
		return fmt.Errorf("%s has more than %d octets", f.Name, MaxValue)
	}
	if !utf8.ValidString(f.Value) {
		return fmt.Errorf("%s is not UTF-8", f.Name)
	}
	return nil
}

// isName reports whether s is a letter followed by letters, digits, '.', '-', '_'.
func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '.' && c != '-' && c != '_') {
			return false
		}
	}
	return s != ""
}

// encode writes the canonical form. It is made by hand, with the string rules of
// RFC 8785, 3.2.2.2, so that no release of a JSON library can change what was
// hashed years before.
func (b *Body) encode() []byte {
	out := make([]byte, 0, 512)
	out = appendString(append(out, `{"id":`...), b.ID)
	out = appendString(append(out, `,"at":`...), b.At.UTC().Format(timeForm))
	out = appendString(append(out, `,"act":`...), b.Act)
	out = appendString(append(out, `,"by":`...), b.By)
	out = append(out, `,"public":[`...)
	for i, f := range b.Public {
		out = appendMember(out, i, f.Name, "value", f.Value)
	}
	out = append(out, `],"commitments":[`...)
	for i, c := range b.Commitments {
		out = appendMember(out, i, c.Name, "hmac", hex.EncodeToString(c.HMAC[:]))
	}
	return append(out, "]}"...)
}

func appendMember(out []byte, i int, name, member, value string) []byte {
	if i > 0 {
		out = append(out, ',')
	}
	out = appendString(append(out, `{"name":`...), name)
	out = appendString(append(append(append(out, `,"`...), member...), `":`...), value)
	return append(out, '}')
}

func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c >= 0x20:
			out = append(out, c)
		case c == '\b':
			out = append(out, `\b`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\f':
			out = append(out, `\f`...)
		case c == '\r':
			out = append(out, `\r`...)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
	}
	return append(out, '"')
}

// ParseBody reads a body and refuses every form but the canonical one: another
// order of members, another escape, a member that is unknown or there twice.
// A body that two readers understand differently proves nothing.
func ParseBody(body []byte) (*Body, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("event body has more than %d octets", MaxBody)
	}
	var raw struct {
		ID, At, Act, By string
		Public          []Field
		Commitments     []struct{ Name, HMAC string }
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("event body: %w", err)
	}
	at, err := time.Parse(timeForm, raw.At)
	if err != nil {
		return nil, fmt.Errorf("event body: %w", err)
	}
	b := &Body{ID: raw.ID, At: at, Act: raw.Act, By: raw.By, Public: raw.Public}
	for _, c := range raw.Commitments {
		sum, err := hex.DecodeString(c.HMAC)
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("event body: commitment to %s is not an HMAC-SHA-256", c.Name)
		}
		b.Commitments = append(b.Commitments, Commitment{Name: c.Name, HMAC: [sha256.Size]byte(sum)})
	}
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("event body: %w", err)
	}
	if !bytes.Equal(b.encode(), body) {
		return nil, errors.New("event body is not in canonical form")
	}
	return b, nil
}

// maxClip is how much of a value from outside is kept.
const maxClip = 200

// Clip makes a value from outside (a path, an error about a document) fit for a
// field: at most 200 octets of valid UTF-8. Without it, whoever sends something
// long or malformed could keep the refusal of it from being recorded, because
// [Seal] would refuse the event.
func Clip(value string) string {
	value = strings.ToValidUTF8(value, "\uFFFD")
	if len(value) <= maxClip {
		return value
	}
	end := maxClip - len("…")
	for !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end] + "…"
}
