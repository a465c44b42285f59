package checker

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
)

const (
	// maxPartitions bounds the search for partitions.
	maxPartitions = 100_000
	// longLife: a list that lives longer is of a CA that is offline or closed. Nobody issues it
	// anew at half of its life.
	longLife = 8 * 24 * time.Hour
	// margin is what a list may be late without anything being wrong.
	margin = 5 * time.Minute
	// oldest is how old a list may be that is issued every day.
	oldest = 25 * time.Hour
	// large is from when on a list that certificates name is told, and tooLarge when it is
	// a failure: Windows gives up after 15 seconds, and has it for each log-in on a slow line.
	large, tooLarge = 1 << 20, 5 << 20
)

// entry is what a list says of a serial.
type entry struct {
	at     time.Time
	reason ca.Reason
}

func (e entry) String() string {
	return fmt.Sprintf("revoked at %s as %v", e.at.UTC().Format(time.RFC3339), e.reason)
}

// sampled is a serial that a list has.
type sampled struct {
	serial *big.Int
	entry
	path string
}

// seen is a list that was read, in this round or an earlier one.
type seen struct {
	etag  string
	head  *crl.Head
	found map[string]entry // of the given certificates' serials those that it has
}

// outcome of reading a list.
type outcome int

const (
	read      outcome = iota // anew, and it is a list of its issuer
	unchanged                // since an earlier round
	absent                   // 404
	failed                   // told already
)

// lists looks at all lists of a CA: the full one, then each partition.
func (r *round) lists(ctx context.Context, a *authority) {
	a.least = max(a.least, r.c.State.partitions(a.name))
	again := a.whole.IsZero() || r.now.Sub(a.whole) >= wholeEvery
	var full *entries
	if !a.root {
		if full = r.full(ctx, a, again); full != nil {
			again = true // the partitions are compared with what is new in it
		}
	}
	if again {
		a.sample = nil
	}
	s := &sampler{keep: r.c.Serials}
	all, oldestPartition := true, time.Time{}
	for n := 0; n < maxPartitions && ctx.Err() == nil; n++ {
		path := partitionPath(a, n)
		compared := full.comparison()
		got := r.list(ctx, a, path, again, func(reader *crl.Reader, e entry) {
			s.see(reader.Serial(), e, path)
			compared.see(reader.Serial(), e, reader.ThisUpdate())
		})
		switch {
		case got == absent && n >= a.least && !r.exists(ctx, a, n+1):
			r.finish(a, full, all, oldestPartition, s, again)
			return
		case got == absent:
			r.say(Failure, CRLMissing, r.c.Base+path, "there is no list, and certificates may name it")
			all = false
		case got == failed:
			all = false
		}
		if got == read {
			r.differences(a, path, compared)
		}
		if l := a.lists[path]; l != nil && (oldestPartition.IsZero() || l.head.ThisUpdate.Before(oldestPartition)) {
			oldestPartition = l.head.ThisUpdate
		}
	}
}

func partitionPath(a *authority, n int) string { return fmt.Sprintf("/crl/%s/%d.crl", a.name, n) }

// exists tries one partition further on, so that a gap is not taken for the end. The root
// has one list.
func (r *round) exists(ctx context.Context, a *authority, n int) bool {
	if a.root {
		return false
	}
	response, ok := r.do(ctx, http.MethodHead, partitionPath(a, n), nil, nil)
	if !ok {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// finish concludes what only all lists together tell.
func (r *round) finish(a *authority, full *entries, all bool, oldestPartition time.Time, s *sampler, again bool) {
	a.sample = append(a.sample, s.drawn()...)
	if limit := 4 * r.c.Serials; len(a.sample) > limit { // between two whole rounds the newest count
		a.sample = a.sample[len(a.sample)-limit:]
	}
	if again && all {
		a.whole = r.now
	}
	if full == nil || !all {
		return
	}
	if n, example := full.unmatched(oldestPartition); n > 0 {
		r.say(Warning, FullExtra, r.c.Base+"/crl/"+a.name+"/full.crl", "%d entries are on no partition, serial %x for one: they have expired within the hour, or a partition lacks them", n, example)
	}
}

// list reads the list at path, unless an earlier round has and it is the same still, and
// judges it. see sees each entry of what is read anew.
func (r *round) list(ctx context.Context, a *authority, path string, again bool, see func(*crl.Reader, entry)) outcome {
	header := http.Header{}
	known := a.lists[path]
	if known != nil && known.etag != "" && !again {
		header.Set("If-None-Match", known.etag)
	}
	response, ok := r.do(ctx, http.MethodGet, path, nil, header)
	if !ok {
		return failed
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return absent
	case response.StatusCode == http.StatusNotModified && header.Get("If-None-Match") != "":
		r.judge(a, path, known.head)
		return unchanged
	case !r.accept(response, path, typeCRL):
		return failed
	}
	r.cache(response, path)
	l := &seen{etag: response.Header.Get("ETag"), found: map[string]entry{}}
	if !r.parse(a, path, response.Body, l, see) {
		return failed
	}
	a.lists[path] = l
	r.judge(a, path, l.head)
	return read
}

// parse reads a list as it comes, and judges its entries.
func (r *round) parse(a *authority, path string, body io.Reader, l *seen, see func(*crl.Reader, entry)) bool {
	subject := r.c.Base + path
	reader, err := crl.NewReader(body, a.cert)
	if err != nil {
		r.say(Failure, CRLInvalid, subject, "%v", err)
		return false
	}
	wanted := map[string]bool{}
	for _, cert := range a.given {
		wanted[string(cert.SerialNumber.Bytes())] = true
	}
	illegal, example, reason := 0, "", ca.Unspecified
	for reader.Next() {
		at, why := reader.When()
		if !legal(why) {
			illegal, example, reason = illegal+1, string(reader.Serial()), why
		}
		if serial := bytes.TrimLeft(reader.Serial(), "\x00"); wanted[string(serial)] {
			l.found[string(serial)] = entry{at, why}
		}
		see(reader, entry{at, why})
	}
	if l.head, err = reader.Finish(); err != nil {
		r.say(Failure, CRLInvalid, subject, "%v", err)
		return false
	}
	if illegal > 0 {
		r.say(Failure, CRLReason, subject, "%d entries have a reason that they may not have, serial %x for one: %v", illegal, example, reason)
	}
	return true
}

// judge judges what a list says of itself.
func (r *round) judge(a *authority, path string, head *crl.Head) {
	subject := r.c.Base + path
	r.fresh(subject, head)
	r.size(subject, head)
	r.scope(a, path, head)
	if !head.Sorted && !a.root { // the root's is written by hand and short
		r.say(Failure, CRLOrder, subject, "its entries are not sorted, or a serial is there twice")
	}
	if len(head.UnknownCritical) > 0 || head.CriticalEntries > 0 || head.DeltaBase != nil {
		r.say(Failure, CRLCritical, subject, "it has critical extensions that relying parties do not know: %v, and in %d entries", head.UnknownCritical, head.CriticalEntries)
	}
	if head.Number == nil {
		r.say(Failure, CRLInvalid, subject, "it has no number")
		return
	}
	now := ListSeen{URL: subject, Number: head.Number.String(), ThisUpdate: head.ThisUpdate, NextUpdate: head.NextUpdate, Entries: head.Entries,
		Octets: head.Size, path: path, sha256: hex.EncodeToString(head.SHA256[:])}
	r.mu.Lock()
	r.report.Lists = append(r.report.Lists, now)
	r.mu.Unlock()
	code, text := r.c.State.compare(now)
	if code != "" {
		r.say(Failure, code, subject, "%s", text)
	}
}

// fresh judges how old a list is.
func (r *round) fresh(subject string, head *crl.Head) {
	const form = "2006-01-02 15:04:05Z"
	life, age, left := head.NextUpdate.Sub(head.ThisUpdate), r.now.Sub(head.ThisUpdate), head.NextUpdate.Sub(r.now)
	end := head.NextUpdate.UTC().Format(form)
	switch {
	case head.NextUpdate.IsZero():
		r.say(Failure, CRLExpired, subject, "it does not say when it ends, and would be believed for ever")
	case left <= 0:
		r.say(Failure, CRLExpired, subject, "it ended at %s: relying parties refuse every certificate that names it", end)
	case age < -r.c.Skew:
		r.say(Failure, CRLFuture, subject, "it is of %s, which has not come: relying parties refuse it", head.ThisUpdate.UTC().Format(form))
	case life > longLife && left < 7*24*time.Hour:
		r.say(Failure, CRLLate, subject, "it ends at %s, and somebody has to sign the next by hand", end)
	case life > longLife && left < max(30*24*time.Hour, life/2):
		r.say(Warning, CRLLate, subject, "it ends at %s, and somebody has to sign the next by hand", end)
	case life > longLife:
	case age > max(oldest, life/2+time.Hour):
		r.say(Failure, CRLOld, subject, "it is of %s", head.ThisUpdate.UTC().Format(form))
	case age > life/2+margin:
		r.say(Warning, CRLLate, subject, "it is past half of its life, which ends at %s, and should have been issued anew", end)
	}
}

// size judges how long a list takes to fetch. No certificate names a full one.
func (r *round) size(subject string, head *crl.Head) {
	grade := Warning
	switch {
	case head.Size < large || strings.HasSuffix(subject, "/full.crl"):
		return
	case head.Size >= tooLarge:
		grade = Failure
	}
	r.say(grade, CRLLarge, subject, "it has %d octets with %d entries: new certificates need more partitions", head.Size, head.Entries)
}

// scope judges what a list says to be about.
func (r *round) scope(a *authority, path string, head *crl.Head) {
	subject, want := r.c.Base+path, r.c.named+path
	switch {
	case strings.HasSuffix(path, "/full.crl"):
		if head.Scope.Present {
			r.say(Failure, CRLScope, subject, "the full list has an issuing distribution point, and would be taken for a part")
		}
	case !head.Scope.Present && a.root:
	case !head.Scope.Present:
		r.say(Failure, CRLScope, subject, "it has no issuing distribution point: as a part it would be taken for the whole, and everybody revoked elsewhere for good")
	case head.DistributionPoint == "":
		r.say(Failure, CRLScope, subject, "its issuing distribution point is not one critical address and nothing else: %+v", head.Scope)
	case head.DistributionPoint != want:
		r.say(Failure, CRLScope, subject, "it is for %s and must be for %s, to the octet", head.DistributionPoint, want)
	}
}

// sampler draws some of many, each as likely as another, and keeps the newest. Only of
// what is drawn an object is made.
type sampler struct {
	keep   int
	count  int
	kept   []sampled
	newest sampled
}

func (s *sampler) see(serial []byte, e entry, path string) {
	s.count++
	one := func() sampled { return sampled{new(big.Int).SetBytes(serial), e, path} }
	if s.newest.serial == nil || e.at.After(s.newest.at) {
		s.newest = one()
	}
	if len(s.kept) < s.keep {
		s.kept = append(s.kept, one())
	} else if i := rand.IntN(s.count); i < s.keep {
		s.kept[i] = one()
	}
}

func (s *sampler) drawn() []sampled {
	if s.newest.serial == nil {
		return nil
	}
	return append(s.kept, s.newest)
}

// partitionNumber returns the number in a path of the CA called name.
func partitionNumber(path, name string) (int, bool) {
	text, ok := strings.CutPrefix(path, "/crl/"+name+"/")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, ".crl"))
	return n, err == nil
}
