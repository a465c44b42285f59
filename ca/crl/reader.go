package crl

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/big"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"sigill/ca"
	"sigill/ca/signing"
)

// Reader reads a CRL (RFC 5280, 5) as it comes, in about 270 kB of memory
// whatever its length. It shares no code with the writer but the reading of
// single elements, so that it can judge what was written.
//
// It reads DER and refuses what is only BER. It takes lists of other issuers too:
// serials of any length, entries in any order, extensions it does not know. What
// a relying party must look at in them is in [Head].
//
// Nothing that Next shows is certain before Finish has returned nil: the
// signature comes last. A Reader is for one goroutine.
type Reader struct {
	in     io.Reader
	issuer *x509.Certificate // nil: the signature is not verified

	buf, spare []byte
	pos, end   int   // buf[pos:end] is read and not yet used
	base       int64 // offset of buf[0] in the list
	hashed     int64 // offset up to which the hashes have it

	total, tbsStart, tbsEnd, entriesStart, entriesEnd int64

	whole     hash.Hash
	signed    signing.Digester // nil: not wanted
	hashing   sync.WaitGroup   // of a buffer, while the other one is read
	algorithm []byte           // the AlgorithmIdentifier in the to-be-signed part
	hash      crypto.Hash
	pss       bool

	head   Head
	line   []byte
	parts  entryParts
	last   []byte // content of the last serial
	err    error
	finish bool
}

// Entry is one entry, decoded.
type Entry struct {
	Serial *big.Int
	At     time.Time
	// Reason is what the list says, which may be a number that RFC 5280 does not
	// know; [ca.Unspecified] if it says nothing.
	Reason ca.Reason
	// Critical says that the entry has a critical extension that is not
	// understood here. certificateIssuer is one: such an entry is about another
	// issuer's certificate. RFC 5280, 5.3: the whole list can't be used.
	Critical bool
}

// NewReader reads the list from r up to its first entry. r must end where the
// list ends.
//
// The list must be issuer's: it must bear its name, byte for byte, and Finish
// verifies its signature. If issuer is nil neither is looked at: the caller
// knows the list by its hash. An Ed25519 signature is over the message and not
// its digest; to verify one, the list is held in memory.
func NewReader(r io.Reader, issuer *x509.Certificate) (*Reader, error) {
	size := 2 * MaxLine
	if m, ok := r.(*bytes.Reader); ok { // a short list is done in less
		size = min(size, m.Len())
	}
	c := &Reader{in: r, issuer: issuer, buf: make([]byte, size), whole: sha256.New(), total: MaxOctets}
	if err := c.begin(); err != nil {
		return nil, fmt.Errorf("crl: %w", err)
	}
	return c, nil
}

// ThisUpdate returns when the list was issued.
func (c *Reader) ThisUpdate() time.Time { return c.head.ThisUpdate }

// NextUpdate returns when the next list will have been issued, zero if the list
// does not say.
func (c *Reader) NextUpdate() time.Time { return c.head.NextUpdate }

// Octets returns the length of all entries together, in octets.
func (c *Reader) Octets() int64 { return c.entriesEnd - c.entriesStart }

// Next goes to the next entry and reports whether there is one. After an error,
// which Finish tells, there is none.
func (c *Reader) Next() bool {
	if c.err != nil || c.at() >= c.entriesEnd {
		c.line, c.parts = nil, entryParts{}
		return false
	}
	line, err := c.element(0x30, c.entriesEnd)
	if err != nil {
		c.fail("entry %d: %w", c.head.Entries, err)
		return false
	}
	parts, ok := splitEntry(line)
	if !ok {
		c.fail("entry %d is not one in DER", c.head.Entries)
		return false
	}
	if len(parts.extensions) > len(reasonPrefix) && criticalEntry(parts.extensions) {
		c.head.CriticalEntries++
	}
	if parts.serial[0] >= 0x80 || compareIntegers(c.last, parts.serial) >= 0 {
		c.head.Sorted = false
	}
	c.last = append(c.last[:0], parts.serial...)
	c.head.Entries++
	c.line, c.parts = line, parts
	return true
}

// Line returns the entry in DER, as [EncodeRevoked] makes it. It is valid until
// the next Next.
func (c *Reader) Line() []byte { return c.line }

// Serial returns the content of the entry's serial, a positive or negative
// INTEGER in DER. It is valid until the next Next.
func (c *Reader) Serial() []byte { return c.parts.serial }

// When returns what the entry says but for its serial, without allocating: since
// when and why it is revoked. Like Line, Serial and Entry it is for after Next has
// returned true.
func (c *Reader) When() (time.Time, ca.Reason) {
	if c.line == nil {
		return time.Time{}, ca.Unspecified
	}
	return c.parts.clock.time(), c.parts.reason()
}

// Entry decodes the entry. At any other time than after Next has returned true
// there is nothing to decode.
func (c *Reader) Entry() Entry {
	if c.line == nil {
		return Entry{}
	}
	return c.parts.decode()
}

// Finish reads what is left, verifies the signature and returns what the list
// says of itself. Errors of Next come here too. It may be called before all
// entries were seen, and more than once.
func (c *Reader) Finish() (*Head, error) {
	for c.Next() {
	}
	if c.err == nil && !c.finish {
		if err := c.rest(); err != nil {
			c.fail("%w", err)
		}
		c.finish = true
	}
	if c.err != nil {
		return nil, c.err
	}
	return &c.head, nil
}

func (c *Reader) fail(format string, args ...any) {
	c.err = fmt.Errorf("crl: "+format, args...)
	c.line, c.parts = nil, entryParts{}
}

// at is the offset of the next octet in the list.
func (c *Reader) at() int64 { return c.base + int64(c.pos) }

// need makes n unused octets stand in the buffer; n is at most its half.
func (c *Reader) need(n int) error {
	if c.end-c.pos >= n {
		return nil
	}
	if len(c.buf)-c.pos < n {
		if len(c.buf) < 2*MaxLine { // all that there is has been in it
			return io.ErrUnexpectedEOF
		}
		c.turn()
	}
	got, err := io.ReadAtLeast(c.in, c.buf[c.end:], n-(c.end-c.pos))
	c.end += got
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// turn goes on in the other buffer, while this one is hashed.
func (c *Reader) turn() {
	c.absorb()
	if c.spare == nil {
		c.spare = make([]byte, len(c.buf))
	}
	c.base += int64(c.pos)
	c.end = copy(c.spare, c.buf[c.pos:c.end])
	c.buf, c.spare, c.pos = c.spare, c.buf, 0
}

// absorb gives the hashes what they have not had of the buffer, which must not be
// written to until c.hashing is done; then the other one is free. Hashing takes
// longer than reading and is done on other cores.
func (c *Reader) absorb() {
	c.hashing.Wait()
	until := min(c.base+int64(c.end), c.total)
	whole := c.buf[c.hashed-c.base : until-c.base]
	c.hashing.Go(func() { c.whole.Write(whole) })
	if from, to := max(c.hashed, c.tbsStart), min(until, c.tbsEnd); c.signed != nil && from < to {
		part := c.buf[from-c.base : to-c.base]
		c.hashing.Go(func() { c.signed.Write(part) })
	}
	c.hashed = until
}

// header reads tag and length of an element, which must end at the offset bound
// or before.
func (c *Reader) header(tag byte, bound int64) (length int64, err error) {
	if err := c.need(2); err != nil {
		return 0, err
	}
	header, octets := 2, 0
	if c.buf[c.pos] != tag {
		return 0, fmt.Errorf("tag %#02x stands where %#02x should", c.buf[c.pos], tag)
	}
	length = int64(c.buf[c.pos+1])
	if length >= 0x80 {
		if octets = int(length & 0x7f); octets == 0 || octets > 4 {
			return 0, errors.New("a length is not in DER")
		}
		header, length = 2+octets, 0
		if err := c.need(header); err != nil {
			return 0, err
		}
		for _, b := range c.buf[c.pos+2 : c.pos+header] {
			length = length<<8 | int64(b)
		}
		if length < 0x80 || length>>(8*(octets-1)) == 0 {
			return 0, errors.New("a length is not in DER")
		}
	}
	if c.at()+int64(header)+length > bound {
		return 0, errors.New("an element is longer than what it stands in")
	}
	c.pos += header
	return length, nil
}

// element reads one element as a whole. It is valid until more is read.
func (c *Reader) element(tag byte, bound int64) ([]byte, error) {
	start := c.at()
	length, err := c.header(tag, bound)
	if err != nil {
		return nil, err
	}
	header := int(c.at() - start)
	if int64(header)+length > MaxLine {
		return nil, fmt.Errorf("an element of %d octets is too long", length)
	}
	c.pos -= header
	size := header + int(length)
	if err := c.need(size); err != nil {
		return nil, err
	}
	c.pos += size
	return c.buf[c.pos-size : c.pos], nil
}

// peek returns the next tag if there is an element before the offset bound, else 0.
func (c *Reader) peek(bound int64) (byte, error) {
	if c.at() >= bound {
		return 0, nil
	}
	if err := c.need(1); err != nil {
		return 0, err
	}
	return c.buf[c.pos], nil
}

// begin reads everything before the first entry.
func (c *Reader) begin() error {
	length, err := c.header(0x30, MaxOctets)
	if err != nil {
		return err
	}
	c.total = c.at() + length
	c.tbsStart = c.at()
	if length, err = c.header(0x30, c.total); err != nil {
		return err
	}
	c.tbsEnd = c.at() + length
	version, err := c.element(0x02, c.tbsEnd)
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	if !bytes.Equal(version, []byte{2, 1, 1}) {
		return errors.New("it is not of version 2")
	}
	algorithm, err := c.element(0x30, c.tbsEnd)
	if err != nil {
		return fmt.Errorf("signature algorithm: %w", err)
	}
	if err := c.setAlgorithm(bytes.Clone(algorithm)); err != nil {
		return err
	}
	name, err := c.element(0x30, c.tbsEnd)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	c.head.RawIssuer = bytes.Clone(name)
	if c.issuer != nil && !bytes.Equal(name, c.issuer.RawSubject) {
		return errors.New("it is another issuer's")
	}
	if err := c.beginTimes(); err != nil {
		return err
	}
	return c.beginEntries()
}

func (c *Reader) beginTimes() (err error) {
	if c.head.ThisUpdate, err = c.time(); err != nil {
		return fmt.Errorf("thisUpdate: %w", err)
	}
	tag, err := c.peek(c.tbsEnd)
	if err != nil {
		return err
	}
	if tag == 0x17 || tag == 0x18 {
		if c.head.NextUpdate, err = c.time(); err != nil {
			return fmt.Errorf("nextUpdate: %w", err)
		}
	}
	return nil
}

func (c *Reader) beginEntries() error {
	c.head.Sorted = true
	tag, err := c.peek(c.tbsEnd)
	if err != nil {
		return err
	}
	c.entriesStart, c.entriesEnd = c.at(), c.at()
	if tag == 0x30 {
		length, err := c.header(0x30, c.tbsEnd)
		if err != nil {
			return fmt.Errorf("entries: %w", err)
		}
		c.entriesStart, c.entriesEnd = c.at(), c.at()+length
	}
	return nil
}

func (c *Reader) time() (time.Time, error) {
	tag, err := c.peek(c.tbsEnd)
	if err != nil {
		return time.Time{}, err
	}
	if tag != 0x17 {
		tag = 0x18
	}
	element, err := c.element(tag, c.tbsEnd)
	if err != nil {
		return time.Time{}, err
	}
	at, ok := parseClock(tag, element[2:])
	if !ok {
		return time.Time{}, errors.New("it is not a time in DER")
	}
	return at.time(), nil
}

// setAlgorithm begins what the signature will be verified over.
func (c *Reader) setAlgorithm(algorithm []byte) error {
	c.algorithm = algorithm
	a, err := parseAlgorithm(algorithm)
	if err != nil || c.issuer == nil {
		return err
	}
	cert := c.issuer
	if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return fmt.Errorf("%q may not sign CRLs", cert.Subject)
	}
	var fits bool
	switch cert.PublicKey.(type) {
	case *rsa.PublicKey:
		fits = a.family == x509.RSA
	case *ecdsa.PublicKey:
		fits = a.family == x509.ECDSA
	case ed25519.PublicKey:
		fits = a.family == x509.Ed25519
	}
	if !fits {
		return fmt.Errorf("its signature algorithm is not for a key of type %T", cert.PublicKey)
	}
	c.hash, c.pss = a.hash, a.pss
	// The length is only what the list says, so that no memory is made ready for it.
	c.signed = signing.NewDigester(a.hash, 0)
	return nil
}

// rest reads what stands after the entries.
func (c *Reader) rest() error {
	if c.at() < c.tbsEnd {
		extensions, err := c.element(0xa0, c.tbsEnd)
		if err != nil {
			return fmt.Errorf("extensions: %w", err)
		}
		if err := c.head.readExtensions(bytes.Clone(extensions)); err != nil {
			return err
		}
		if c.at() != c.tbsEnd {
			return errors.New("something stands after the extensions")
		}
	}
	algorithm, err := c.element(0x30, c.total)
	if err != nil {
		return fmt.Errorf("signature algorithm: %w", err)
	}
	if !bytes.Equal(algorithm, c.algorithm) {
		return errors.New("it names two signature algorithms")
	}
	signature, err := c.element(0x03, c.total)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	in := cryptobyte.String(bytes.Clone(signature))
	var bits asn1.BitString
	if !in.ReadASN1BitString(&bits) || bits.BitLength%8 != 0 {
		return errors.New("the signature is not in whole octets")
	}
	if c.at() != c.total {
		return errors.New("something stands after the signature")
	}
	if err := c.atEOF(); err != nil {
		return err
	}
	c.absorb()
	c.hashing.Wait()
	c.head.Size = c.total
	c.whole.Sum(c.head.SHA256[:0])
	if c.issuer == nil {
		return nil
	}
	return signing.VerifyDigest(c.issuer.PublicKey, c.hash, c.pss, c.signed.Message(), bits.Bytes)
}

// atEOF makes sure that nothing follows the list.
func (c *Reader) atEOF() error {
	err := c.need(1)
	switch {
	case err == nil:
		return errors.New("something stands after it")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	}
	return err
}
