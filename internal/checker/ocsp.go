package checker

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/ca/crl"
)

const (
	maxAnswer = 64 << 10
	// longestValidity of an answer: a stolen card is shown as good for as long by who keeps
	// an old one.
	longestValidity = 12*time.Hour + 10*time.Minute
)

// ocspSays is what an answer says of a serial.
type ocspSays struct {
	status Status
	entry
}

func (s ocspSays) String() string {
	if s.status == Revoked {
		return s.entry.String()
	}
	return string(s.status)
}

// manner of asking. Both must give the same.
type manner int

const (
	byGET  manner = iota // SHA-1, no nonce: what caches keep
	byPOST               // SHA-256 and a nonce: what is made for this request
)

// ocsp asks for a serial that nobody has issued, for a sample of what the lists have, and
// for the given certificates.
func (r *round) ocsp(ctx context.Context, a *authority) {
	if a.root { // nobody answers for an offline CA
		r.givenOnLists(a)
		return
	}
	for _, how := range []manner{byGET, byPOST} {
		serial := randomSerial()
		if says, ok := r.ask(ctx, a, serial, how); ok && says.status != Unknown {
			r.say(Failure, OCSPInvents, a.name, "of a serial that was drawn just now and that nobody has issued it says %s", says)
		}
	}
	for _, e := range a.sample {
		r.compare(ctx, a, e.serial, e.path, &e.entry)
	}
	for _, cert := range a.given {
		path, found, ok := a.listed(cert)
		if ok && r.now.Before(cert.NotAfter) { // an expired one may have left its list
			r.compare(ctx, a, cert.SerialNumber, path, found)
		}
	}
}

// givenOnLists tells of certificates of an offline CA that its list has.
func (r *round) givenOnLists(a *authority) {
	for _, cert := range a.given {
		if _, found, ok := a.listed(cert); ok && found != nil && cert.IsCA {
			r.say(Failure, CAEnds, cert.Subject.CommonName, "its certificate is %s", found)
		}
	}
}

// listed returns the path of a certificate's list and what it has of it, nil if nothing;
// false if its list was not read.
func (a *authority) listed(cert *x509.Certificate) (path string, found *entry, ok bool) {
	for _, address := range cert.CRLDistributionPoints {
		m := pathOf.FindStringSubmatch(address)
		if m == nil || m[2] != a.name {
			continue
		}
		path = "/crl/" + m[2] + "/" + m[3] + ".crl"
		l := a.lists[path]
		if l == nil {
			continue
		}
		if e, has := l.found[string(cert.SerialNumber.Bytes())]; has {
			found = &e
		}
		return path, found, true
	}
	return "", nil, false
}

// compare asks for a serial in both manners and compares with what the list has, nil if
// nothing. What differs is looked at again, list and answer: between the two of them a
// revocation may have come, or a graver reason.
func (r *round) compare(ctx context.Context, a *authority, serial *big.Int, path string, listed *entry) {
	for _, how := range []manner{byGET, byPOST} {
		says, ok := r.ask(ctx, a, serial, how)
		if !ok || agree(says, listed) {
			continue
		}
		if listed, ok = r.lookUp(ctx, a, path, serial); !ok {
			return
		}
		if says, ok = r.ask(ctx, a, serial, how); !ok || agree(says, listed) || r.young(says, listed) {
			continue
		}
		list := "does not have it"
		if listed != nil {
			list = "has it as " + listed.String()
		}
		r.say(Failure, OCSPDiffers, fmt.Sprintf("%s, serial %x", a.name, serial), "OCSP by %s says %s, and %s %s", how, says, path, list)
	}
}

func (m manner) String() string {
	if m == byGET {
		return "GET"
	}
	return "POST"
}

// agree reports whether an answer and a list say the same of a certificate that exists.
func agree(says ocspSays, listed *entry) bool {
	if listed == nil {
		return says.status == Good
	}
	return says.status == Revoked && says.at.Equal(listed.at) && says.reason == listed.reason
}

// young reports whether a difference is of a revocation so new that a cache may not know it.
func (r *round) young(says ocspSays, listed *entry) bool {
	return listed != nil && says.status == Good && r.c.Now().Sub(listed.at) < grace ||
		listed == nil && says.status == Revoked && r.c.Now().Sub(says.at) < grace
}

// lookUp reads a list for one serial.
func (r *round) lookUp(ctx context.Context, a *authority, path string, serial *big.Int) (*entry, bool) {
	var found *entry
	wanted := serial.Bytes()
	got := r.list(ctx, a, path, true, func(reader *crl.Reader, e entry) {
		if bytes.Equal(bytes.TrimLeft(reader.Serial(), "\x00"), wanted) {
			found = &e
		}
	})
	return found, got == read
}

// randomSerial is one that nobody has issued, as sure as 159 drawn bits make it.
func randomSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b)
}

// ask asks for one serial and judges the answer in everything but its status. false: there is
// no answer that could be believed, and that has been told.
func (r *round) ask(ctx context.Context, a *authority, serial *big.Int, how manner) (ocspSays, bool) {
	hash, nonce := crypto.SHA1, []byte(nil)
	if how == byPOST {
		hash, nonce = crypto.SHA256, make([]byte, 32)
		rand.Read(nonce)
	}
	request, id, err := newRequest(a.cert, serial, hash, nonce)
	if err != nil {
		r.say(Failure, OCSPInvalid, a.name, "making a request: %v", err)
		return ocspSays{}, false
	}
	der, response, ok := r.send(ctx, request, how)
	if !ok {
		return ocspSays{}, false
	}
	answer, err := ocsp.ParseResponseForCert(der, &x509.Certificate{SerialNumber: serial}, a.cert)
	if err == nil && !bytes.Contains(answer.TBSResponseData, id) {
		err = errors.New("it is about another certificate")
	}
	if err != nil {
		r.say(Failure, OCSPInvalid, a.name, "by %s: %v", how, err)
		return ocspSays{}, false
	}
	r.mu.Lock()
	r.report.Answers++
	r.mu.Unlock()
	r.signer(a, answer)
	r.times(a, answer, how)
	if how == byPOST && !bytes.Equal(nonceOf(answer.TBSResponseData), nonce) {
		r.say(Failure, OCSPNonce, a.name, "it does not send the nonce back, so that an old answer could be passed off as new")
	}
	says := ocspSays{status: Good}
	switch answer.Status {
	case ocsp.Revoked:
		says = ocspSays{Revoked, entry{answer.RevokedAt, ca.Reason(answer.RevocationReason)}}
	case ocsp.Unknown:
		says.status = Unknown
	}
	r.cached(response, says.status, how)
	return says, true
}

// send sends a request and returns the body of the answer.
func (r *round) send(ctx context.Context, request []byte, how manner) ([]byte, *http.Response, bool) {
	path, method := "/ocsp", http.MethodPost
	header := http.Header{"Content-Type": {typeRequest}}
	body := bytes.NewReader(request)
	if how == byGET {
		path += "/" + url.QueryEscape(base64.StdEncoding.EncodeToString(request))
		method, header, body = http.MethodGet, nil, bytes.NewReader(nil)
	}
	response, ok := r.do(ctx, method, path, body, header)
	if !ok {
		return nil, nil, false
	}
	defer response.Body.Close()
	if !r.accept(response, path, typeOCSP) {
		return nil, nil, false
	}
	der, err := readAll(response.Body, maxAnswer)
	if err != nil {
		r.say(Failure, HTTPUnreachable, subjectPath(r.c.Base+path), "%v", err)
		return nil, nil, false
	}
	return der, response, true
}

// cached judges how long caches may keep an answer. One that says unknown they must not
// keep: the certificate may be issued the next moment.
func (r *round) cached(response *http.Response, status Status, how manner) {
	if how == byPOST {
		return
	}
	if status != Unknown {
		r.cache(response, "/ocsp/")
	} else if m := maxAge.FindStringSubmatch(response.Header.Get("Cache-Control")); m != nil {
		r.say(Warning, HTTPCache, r.c.Base+"/ocsp/…", "caches may keep an answer that says unknown")
	}
}

// signer judges who signed.
func (r *round) signer(a *authority, answer *ocsp.Response) {
	signer := answer.Certificate
	if signer == nil || signer.Equal(a.cert) {
		return // the CA itself
	}
	if err := ca.CheckOCSPSigner(a.cert, signer); err != nil {
		r.say(Failure, OCSPSigner, a.name, "%v", err)
	}
	r.mu.Lock()
	known := false
	for i := range r.report.Signers {
		if s := &r.report.Signers[i]; s.Authority == a.name {
			known = true
			if signer.NotAfter.Before(s.NotAfter) {
				s.NotAfter = signer.NotAfter
			}
		}
	}
	if !known {
		r.report.Signers = append(r.report.Signers, SignerSeen{a.name, signer.NotAfter})
	}
	r.mu.Unlock()
	switch left := signer.NotAfter.Sub(r.now); {
	case left < 24*time.Hour:
		r.say(Failure, OCSPSignerEnds, a.name, "the certificate of its OCSP signer ends at %s", signer.NotAfter.UTC().Format(time.RFC3339))
	case left < r.c.SignerLife:
		r.say(Warning, OCSPSignerEnds, a.name, "the certificate of its OCSP signer ends at %s", signer.NotAfter.UTC().Format(time.RFC3339))
	}
	if signer.NotBefore.After(r.now.Add(r.c.Skew)) {
		r.say(Failure, OCSPSigner, a.name, "the certificate of its OCSP signer begins at %s", signer.NotBefore.UTC().Format(time.RFC3339))
	}
	if !answer.NextUpdate.IsZero() && answer.NextUpdate.After(signer.NotAfter) {
		r.say(Failure, OCSPValidity, a.name, "answers are valid beyond the end of their signer")
	}
}

// times judges when an answer is in force.
func (r *round) times(a *authority, answer *ocsp.Response, how manner) {
	now := r.c.Now()
	switch {
	case answer.NextUpdate.IsZero():
		r.say(Failure, OCSPValidity, a.name, "answers do not say when they end, and would be believed for ever")
	case !now.Before(answer.NextUpdate):
		r.say(Failure, OCSPStale, a.name, "by %s it gives answers whose time has passed", how)
	case answer.NextUpdate.Sub(answer.ThisUpdate) > longestValidity:
		r.say(Failure, OCSPValidity, a.name, "answers are valid for %v, and whoever replays one is believed for as long", answer.NextUpdate.Sub(answer.ThisUpdate))
	}
	if answer.ThisUpdate.After(now.Add(r.c.Skew)) {
		r.say(Failure, OCSPValidity, a.name, "answers are of a time that has not come")
	}
	// One with a nonce was made just now.
	if off := answer.ProducedAt.Sub(now); off > r.c.Skew || how == byPOST && off < -r.c.Skew {
		r.say(Warning, ClockSkew, a.name, "the clock of its OCSP answers and the one here differ by more than %v", r.c.Skew)
	}
}

// newRequest encodes an OCSPRequest (RFC 6960, 4.1.1) for one serial. id is the part of the
// CertID that an answer repeats to the octet: hashes and serial.
func newRequest(issuer *x509.Certificate, serial *big.Int, hash crypto.Hash, nonce []byte) (request, id []byte, err error) {
	name, key, err := ca.IssuerHashes(issuer, hash)
	if err != nil {
		return nil, nil, err
	}
	oid := asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	if hash == crypto.SHA256 {
		oid = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	}
	var part cryptobyte.Builder
	part.AddASN1OctetString([]byte(name))
	part.AddASN1OctetString([]byte(key))
	part.AddASN1BigInt(serial)
	if id, err = part.Bytes(); err != nil {
		return nil, nil, err
	}
	sequence := func(b *cryptobyte.Builder, f cryptobyte.BuilderContinuation) { b.AddASN1(cbasn1.SEQUENCE, f) }
	var b cryptobyte.Builder
	sequence(&b, func(b *cryptobyte.Builder) { // OCSPRequest
		sequence(b, func(b *cryptobyte.Builder) { // TBSRequest
			sequence(b, func(b *cryptobyte.Builder) { // requestList
				sequence(b, func(b *cryptobyte.Builder) { // Request
					sequence(b, func(b *cryptobyte.Builder) { // CertID
						sequence(b, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid); b.AddASN1NULL() })
						b.AddBytes(id)
					})
				})
			})
			if nonce == nil {
				return
			}
			b.AddASN1(cbasn1.Tag(2).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				sequence(b, func(b *cryptobyte.Builder) {
					sequence(b, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidNonce)
						b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
					})
				})
			})
		})
	})
	request, err = b.Bytes()
	return request, id, err
}

var oidNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}

// nonceOf returns the nonce in a ResponseData (RFC 6960, 4.2.1; RFC 9654), nil if there is none
// that can be read.
func nonceOf(tbs []byte) []byte {
	in := cryptobyte.String(tbs)
	var data, skipped, wrapped, list cryptobyte.String
	var tag cbasn1.Tag
	explicit := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }
	if !in.ReadASN1(&data, cbasn1.SEQUENCE) || !data.SkipOptionalASN1(explicit(0)) || !data.ReadAnyASN1(&skipped, &tag) ||
		!data.SkipASN1(cbasn1.GeneralizedTime) || !data.SkipASN1(cbasn1.SEQUENCE) ||
		!data.ReadASN1(&wrapped, explicit(1)) || !wrapped.ReadASN1(&list, cbasn1.SEQUENCE) {
		return nil
	}
	for !list.Empty() {
		var extension, value, nonce cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !list.ReadASN1(&extension, cbasn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&oid) || !extension.SkipOptionalASN1(cbasn1.BOOLEAN) ||
			!extension.ReadASN1(&value, cbasn1.OCTET_STRING) {
			return nil
		}
		if oid.Equal(oidNonce) && value.ReadASN1(&nonce, cbasn1.OCTET_STRING) && value.Empty() {
			return nonce
		}
	}
	return nil
}
