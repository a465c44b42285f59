package auditor

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"

	"sigill/ca"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
)

// public compares what relying parties are told with what the log of acts says: lists
// whole, both ways, and OCSP for some.
func (r *run) public() error {
	if r.Status == nil {
		return nil
	}
	var addresses []string
	err := r.Book.View(r.ctx, func(tx *book.Tx) (err error) {
		addresses, err = tx.CRLs(book.Micro(r.Now()))
		return err
	})
	if err != nil {
		return err
	}
	if err := r.ask(); err != nil {
		return err
	}
	for i, address := range addresses {
		r.Progress("lists", int64(i), int64(len(addresses)))
		if err := r.list(address); err != nil {
			return err
		}
	}
	return nil
}

// issuerOf returns the issuing CA that has signed something, as check says.
func (r *run) issuerOf(check func(*x509.Certificate) error) *x509.Certificate {
	for _, der := range r.Issuers.All() {
		if cert, err := x509.ParseCertificate(der); err == nil && check(cert) == nil {
			return cert
		}
	}
	return nil
}

func (r *run) told(f Finding) error {
	return r.Book.Update(r.ctx, func(tx *book.Tx) error { return r.find(tx, f) })
}

// list compares one CRL with the acts.
func (r *run) list(address string) error {
	unusable := func(text string) error {
		return r.told(Finding{Kind: finding.StatusGone, Severity: finding.Warning, Index: -1, Text: text, IDs: finding.IDs("list", address)})
	}
	text, err := r.Status.List(r.ctx, address)
	if err != nil {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		return unusable("the list cannot be fetched")
	}
	list, err := x509.ParseRevocationList(text)
	if err != nil {
		return unusable("the list cannot be read")
	}
	if r.issuerOf(list.CheckSignatureFrom) == nil {
		return unusable("the list is not signed by one of the CAs")
	}
	if r.Now().After(list.NextUpdate) {
		return unusable("the list has expired")
	}
	public := make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, e := range list.RevokedCertificateEntries {
		if s, ok := ca.SerialOf(e.SerialNumber); ok {
			public[s.String()] = true
		}
	}
	return r.Book.Update(r.ctx, func(tx *book.Tx) error {
		if err := r.listed(tx, address, public); err != nil {
			return err
		}
		return r.unlogged(tx, list, public)
	})
}

// listed reports what was ended and is not in its list, and takes out of public what is
// in it rightly.
func (r *run) listed(tx *book.Tx, address string, public map[string]bool) error {
	var missing []book.Ended
	err := tx.EndedOn(address, book.Micro(r.Now()), func(c book.Ended) error {
		if public[c.Serial] {
			delete(public, c.Serial)
		} else if r.Now().Sub(book.Moment(c.At)) > r.Public {
			missing = append(missing, c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range missing {
		if err := r.find(tx, Finding{Kind: finding.Unpublic, Severity: finding.Critical, Log: Acts, Index: c.Number, Text: "it was revoked, and its list does not say so",
			IDs: finding.IDs("serial", c.Serial, "card", c.Card)}); err != nil {
			return err
		}
	}
	return nil
}

// unlogged reports what a list says and no act. left are those of its serials of which it
// is not known that an act ended them, and that they stand on this list.
func (r *run) unlogged(tx *book.Tx, list *x509.RevocationList, left map[string]bool) error {
	for _, e := range list.RevokedCertificateEntries {
		s, ok := ca.SerialOf(e.SerialNumber)
		if ok && !left[s.String()] || e.RevocationTime.After(r.signed.Add(-r.Grace)) {
			continue // its act may be in the log by the next look
		}
		c, err := tx.Certificate(s.String())
		if err != nil && !errors.Is(err, book.ErrNotFound) {
			return err
		}
		if err == nil && c.Ended >= 0 {
			continue
		}
		id := s.String()
		if !ok {
			id = e.SerialNumber.Text(16)
		}
		if err := r.find(tx, Finding{Kind: finding.Unlogged, Severity: finding.Critical, Index: -1, Text: "a list says that it is revoked, and no act does", IDs: finding.IDs("serial", id)}); err != nil {
			return err
		}
	}
	return nil
}

// issuerKey returns the hash of the key of the CA of that name, as certificates tell.
func (r *run) issuerKey(name string) (key [sha256.Size]byte, err error) {
	err = r.Book.View(r.ctx, func(tx *book.Tx) error {
		text, err := tx.Meta(issuerMeta + name)
		if b, bad := hex.DecodeString(text); bad == nil {
			copy(key[:], b)
		}
		return err
	})
	return key, err
}

// issuerMeta is what the book's words about CAs begin with.
const issuerMeta = "issuer "

// issuer holds the key of a certificate's CA against the name that the acts give it.
func (r *run) issuer(tx *book.Tx, l *logged) error {
	name, key := l.row.Issuer, hex.EncodeToString(l.entry.Leaf.TimestampedEntry.PrecertEntry.IssuerKeyHash[:])
	if name == "" || r.named[name] == key {
		return nil
	}
	is, err := tx.Meta(issuerMeta + name)
	switch {
	case err != nil:
		return err
	case is == "":
		if err := tx.PutMeta(issuerMeta+name, key); err != nil {
			return err
		}
	case is != key:
		return r.find(tx, Finding{Kind: "certificate." + Kind(rederive.Claim), Severity: finding.Critical, Log: Certificates, Index: l.index,
			Text: "another CA has made it than the others of this name", IDs: finding.IDs("serial", l.row.Serial, "issuer", name)})
	}
	r.named[name] = key
	return nil
}
