package storetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/store"
	"sigill/orders/download"
	"sigill/revocation"
)

func testRevocations(t *testing.T, db *store.DB) {
	graver := Entry(1, 2)
	graver.Reason, graver.Rule = ca.KeyCompromise, ""
	update(t, db, func(tx *download.Tx) error { return tx.Revocations.InsertRevocation(Entry(1, 1)) })
	view(t, db, func(tx *download.Tx) error {
		e, ok, err := tx.Revocations.Revocation(Serial(1))
		same(t, e, err, Entry(1, 1))
		_, other, err := tx.Revocations.Revocation(Serial(2))
		if !ok || other || err != nil {
			t.Errorf("Revocation = %v, %v, %v", ok, other, err)
		}
		return nil
	})
	update(t, db, func(tx *download.Tx) error { return tx.Revocations.InsertRevocation(graver) })
	view(t, db, func(tx *download.Tx) error {
		e, _, err := tx.Revocations.Revocation(Serial(1))
		same(t, e, err, graver)
		return nil
	})
	again := Entry(1, 2)
	again.Event = "evt_other"
	if err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return tx.Revocations.InsertRevocation(again) }); err == nil {
		t.Error("a version was inserted twice")
	}
}

func testStatus(t *testing.T, db *store.DB) {
	const issuer = "person-hsa-id-3-v1"
	graver := Entry(3, 2)
	graver.Reason = ca.KeyCompromise
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertIntent(Intent(1)), tx.InsertCertificate(Certificate(2)), tx.InsertCertificate(Certificate(3)),
			tx.Revocations.InsertRevocation(Entry(3, 1)), tx.Revocations.InsertRevocation(graver), tx.Revocations.InsertRevocation(Entry(4, 1)))
	})
	abandoned := Entry(4, 1)
	err := db.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
		for _, c := range []struct {
			what     string
			issuer   ca.IssuerID
			serial   byte
			released bool
			entry    *revocation.Entry
		}{
			{"open intent", issuer, 1, false, nil},
			{"good", issuer, 2, true, nil},
			{"revoked, by its gravest reason", issuer, 3, true, &graver},
			{"abandoned intent", issuer, 4, false, &abandoned},
			{"never issued", issuer, 5, false, nil},
			{"another issuer's", "other", 3, false, nil},
		} {
			t.Run(c.what, func(t *testing.T) {
				released, entry, err := tx.Status(c.issuer, Serial(c.serial))
				same(t, released, err, c.released)
				same(t, entry, err, c.entry)
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testPublications(t *testing.T, db *store.DB) {
	reserve := func(n int64) *revocation.Publication {
		return &revocation.Publication{Issuer: "i", Scope: "2", Number: n, State: revocation.Reserved, ThisUpdate: T0, NextUpdate: T0.Add(time.Hour), Through: 4, Entries: 3}
	}
	do := func(fn func(*revocation.Tx) error) error { return db.Revocation().Update(t.Context(), fn) }
	newest := func(state revocation.PublicationState, want *revocation.Publication) {
		t.Helper()
		err := db.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
			p, err := tx.NewestPublication("i", "2", state)
			if want == nil && errors.Is(err, revocation.ErrNotFound) {
				return nil
			}
			same(t, p, err, want)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	newest("", nil)
	for n := range int64(2) {
		if err := do(func(tx *revocation.Tx) error { return tx.InsertPublication(reserve(n + 1)) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := do(func(tx *revocation.Tx) error { return tx.InsertPublication(reserve(1)) }); err == nil {
		t.Error("a number was reserved twice")
	}
	done := reserve(1)
	done.State, done.SHA256, done.Entries, done.Through = revocation.Published, [32]byte{1}, 7, 9
	newest(revocation.Published, nil)
	if err := do(func(tx *revocation.Tx) error { return tx.FinishPublication(done) }); err != nil {
		t.Fatal(err)
	}
	if err := do(func(tx *revocation.Tx) error { return tx.FinishPublication(done) }); !errors.Is(err, revocation.ErrNotFound) {
		t.Errorf("finishing twice = %v", err)
	}
	newest("", reserve(2))
	newest(revocation.Reserved, reserve(2))
	newest(revocation.Published, done)
}

func testEntries(t *testing.T, db *store.DB) {
	elsewhere, expired, graver := Entry(2, 1), Entry(3, 1), Entry(1, 2)
	elsewhere.Partition, expired.NotAfter, graver.Reason, graver.Line = 3, T0, ca.KeyCompromise, []byte("graver")
	update(t, db, func(tx *download.Tx) error {
		for _, e := range []revocation.Entry{Entry(4, 1), elsewhere, expired, Entry(1, 1), graver} {
			if err := errors.Join(tx.Revocations.InsertRevocation(e), tx.Events.Append(Event(e.Event))); err != nil {
				return err
			}
		}
		return tx.Events.Append(Event("evt_other"))
	})
	stop := errors.New("stop")
	err := db.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
		read := func(since time.Time) (got []revocation.Entry) {
			err := tx.EntriesIn(revocation.List{Issuer: graver.Issuer, Partition: 2}, since, time.Time{}, func(e revocation.Entry) error { got = append(got, e); return nil })
			if err != nil {
				t.Error(err)
			}
			slices.SortFunc(got, func(a, b revocation.Entry) int { return bytes.Compare(a.Serial[:], b.Serial[:]) })
			return got
		}
		same(t, read(T0), nil, []revocation.Entry{graver, expired, Entry(4, 1)})
		same(t, read(T0.Add(1000)), nil, []revocation.Entry{graver, Entry(4, 1)})
		whole, other := revocation.List{Issuer: graver.Issuer, Partition: revocation.Whole}, revocation.List{Issuer: "other", Partition: revocation.Whole}
		if err := tx.EntriesIn(whole, T0, time.Time{}, func(revocation.Entry) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("EntriesIn = %v, want what yield returned", err)
		}
		var ended []revocation.Entry
		err := tx.EntriesIn(whole, T0, T0.Add(1000), func(e revocation.Entry) error { ended = append(ended, e); return nil })
		same(t, ended, err, []revocation.Entry{expired})
		lines := func(list revocation.List, since time.Time) (got []string) {
			err := tx.Lines(list, since, func(line []byte) error { got = append(got, string(line)); return nil })
			if err != nil {
				t.Error(err)
			}
			return got
		}
		in := revocation.List{Issuer: graver.Issuer, Partition: 2}
		same(t, lines(in, T0), nil, []string{string(graver.Line), string(expired.Line), string(Entry(4, 1).Line)})
		same(t, lines(in, T0.Add(1000)), nil, []string{string(graver.Line), string(Entry(4, 1).Line)})
		same(t, lines(whole, T0), nil, []string{string(graver.Line), string(elsewhere.Line), string(expired.Line), string(Entry(4, 1).Line)})
		same(t, lines(other, T0), nil, []string(nil))
		if err := tx.Lines(whole, T0, func([]byte) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("Lines = %v, want what yield returned", err)
		}
		var unnumbered []string
		err = tx.UnnumberedEntries(func(e revocation.Entry) error { unnumbered = append(unnumbered, e.Event); return nil })
		same(t, unnumbered, err, []string{EventID(4, 1), EventID(2, 1), EventID(3, 1), EventID(1, 1), EventID(1, 2)})
		n, err := tx.HeadNumber()
		same(t, n, err, 0)
		list, err := tx.NumberedEntries(0, 10)
		same(t, list, err, nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	link(t, db, 10)
	err = db.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
		if err := tx.UnnumberedEntries(func(e revocation.Entry) error { t.Errorf("%s has no number", e.Event); return nil }); err != nil {
			t.Error(err)
		}
		n, err := tx.HeadNumber()
		same(t, n, err, 6)
		list, err := tx.NumberedEntries(1, 3)
		same(t, list, err, []revocation.Numbered{{Entry: elsewhere, Number: 2}, {Entry: expired, Number: 3}, {Entry: Entry(1, 1), Number: 4}})
		list, err = tx.NumberedEntries(4, 3)
		same(t, list, err, []revocation.Numbered{{Entry: graver, Number: 5}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// link numbers up to n events as the sequencer would; the hashes are not the
// store's concern.
func link(t *testing.T, db *store.DB, n int) []audit.Link {
	t.Helper()
	var links []audit.Link
	err := db.Audit().Update(t.Context(), func(tx *audit.Tx) error {
		links = nil
		var head audit.Link
		if h, err := tx.HeadLink(); err == nil {
			head = *h
		} else if !errors.Is(err, audit.ErrNotFound) {
			return err
		}
		records, err := tx.Unnumbered(n)
		for i, r := range records {
			links = append(links, audit.Link{Number: head.Number + 1 + int64(i), Event: r.ID, Leaf: r.Leaf, Hash: [32]byte{byte(i + 1)}})
		}
		return errors.Join(err, tx.AppendLinks(links))
	})
	if err != nil {
		t.Fatal(err)
	}
	return links
}

func testEvents(t *testing.T, db *store.DB) {
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.Events.Append(Event("evt_b")), tx.Events.Append(Event("evt_a")), tx.Events.Append(Event("evt_c")))
	})
	if err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return tx.Events.Append(Event("evt_a")) }); err == nil {
		t.Error("an event was appended twice")
	}
	bad := Event("evt_d")
	bad.Act = "no such act"
	if err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return tx.Events.Append(bad) }); err == nil {
		t.Error("an unsealable event was appended")
	}
	err := db.Audit().View(t.Context(), func(tx *audit.Tx) error {
		list, err := tx.Unnumbered(2)
		same(t, ids(list, func(r audit.Record) string { return r.ID }), err, []string{"evt_b", "evt_a"})
		for _, r := range list {
			body, err := audit.ParseBody(r.Body)
			if err != nil || body.ID != r.ID || body.Act != r.Act || r.Leaf != audit.LeafHash(r.Body) || !r.At.Equal(T0) || r.By != "system" || r.Personal != nil {
				t.Errorf("record %+v with body %s: %v", r, r.Body, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testChain(t *testing.T, db *store.DB) {
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.Events.Append(Refusal("evt_b")), tx.Events.Append(Event("evt_c")), tx.Events.Append(Imported("evt_a")))
	})
	links := append(link(t, db, 2), link(t, db, 2)...)
	view := func(fn func(*audit.Tx) error) {
		t.Helper()
		if err := db.Audit().View(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	view(func(tx *audit.Tx) error {
		head, err := tx.HeadLink()
		same(t, head, err, &links[2])
		records, got, err := tx.Linked(0, 10)
		same(t, got, err, links)
		same(t, ids(records, func(r audit.Record) int { return len(r.Personal) }), err, []int{1, 0, 9})
		for i, r := range records {
			if r.ID != links[i].Event || r.Leaf != links[i].Leaf || audit.LeafHash(r.Body) != r.Leaf {
				t.Errorf("record %d = %+v", i, r)
			}
		}
		body, err := audit.ParseBody(records[2].Body)
		for i, p := range records[2].Personal {
			if want := Imported("").Personal[i]; p.Name != want.Name || p.Value != want.Value || audit.Commit(p) != body.Commitments[i].HMAC {
				t.Errorf("personal field %+v is not the committed one", p)
			}
		}
		_, got, err2 := tx.Linked(1, 1)
		same(t, got, errors.Join(err, err2), links[1:2])
		records, got, err = tx.Linked(3, 1)
		if len(records) != 0 || len(got) != 0 || err != nil {
			t.Errorf("Linked behind the head = %v, %v, %v", records, got, err)
		}
		return nil
	})
	update(t, db, func(tx *download.Tx) error { return tx.Events.Append(Event("evt_d")) })
	for name, l := range map[string]audit.Link{
		"number taken":   {Number: 3, Event: "evt_d", Leaf: links[0].Leaf, Hash: [32]byte{1}},
		"event numbered": {Number: 4, Event: "evt_a", Leaf: links[2].Leaf, Hash: [32]byte{1}},
		"gap":            {Number: 5, Event: "evt_d", Leaf: links[0].Leaf, Hash: [32]byte{1}},
		"another leaf":   {Number: 4, Event: "evt_d", Leaf: [32]byte{1}, Hash: [32]byte{1}},
		"no such event":  {Number: 4, Event: "evt_x", Leaf: links[0].Leaf, Hash: [32]byte{1}},
	} {
		err := db.Audit().Update(t.Context(), func(tx *audit.Tx) error { return tx.AppendLinks([]audit.Link{l}) })
		if !errors.Is(err, audit.ErrConflict) {
			t.Errorf("%s: AppendLinks = %v, want a conflict", name, err)
		}
	}
	if got := link(t, db, 9); len(got) != 1 || got[0].Number != 4 {
		t.Errorf("after the conflicts: %v", got)
	}
}
