package crl

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// MaxOctets is the size in octets of the longest list that is written or read:
	// five times what a million entries need.
	MaxOctets = 256 << 20
	// MaxLine is the size in octets of the longest entry that is written or
	// read, and of the longest other part of a list that is read.
	MaxLine = 64 << 10
)

// Lines are the entries of a list as [EncodeRevoked] encoded them, sorted by
// serial, each serial once.
type Lines struct {
	Count int
	// Octets is the sum of the lines' lengths. DER has lengths before contents,
	// so that it must be known before the first line is written.
	Octets int64
	// Write calls yield for each line in order. It is called once, and not at
	// all if Count is 0. It MUST return an error that yield returned, and MAY
	// use the line's memory again after yield has returned.
	Write func(yield func(line []byte) error) error
}

// WriteCRL writes the signed list to w, whose entries are lines; list.Entries
// must be empty. It never holds the list in memory: the digest that is signed is
// made of what passes by. An Ed25519 key is the exception, because it signs the
// message and not its digest, so that the whole list is buffered.
//
// The order of the lines, their number and their sum are checked on the way. The
// signature is verified under the issuer's certificate before it is written. If
// WriteCRL fails, w may have got any part of the list, and the caller must throw
// it away.
func (s *Signer) WriteCRL(w io.Writer, list List, lines Lines) error {
	if err := s.writeCRL(w, &list, lines); err != nil {
		return fmt.Errorf("crl %d: %w", list.Number, err)
	}
	return nil
}

func (s *Signer) writeCRL(w io.Writer, list *List, lines Lines) error {
	if len(list.Entries) > 0 {
		return errors.New("entries are given twice, as values and as lines")
	}
	if err := list.check(); err != nil {
		return err
	}
	if (lines.Count == 0) != (lines.Octets == 0) || lines.Count < 0 || lines.Octets < 0 || lines.Octets > MaxOctets {
		return fmt.Errorf("%d entries can't be %d octets", lines.Count, lines.Octets)
	}
	head, tail, err := s.frame(list)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	if lines.Count > 0 { // an empty list must be absent (RFC 5280, 5.1.2.6)
		head = appendHeader(head, 0x30, lines.Octets)
	}
	tbs := appendHeader(nil, 0x30, int64(len(head))+lines.Octets+int64(len(tail)))
	tbs = append(tbs, head...)
	size, err := s.key.SignatureSize()
	if err != nil {
		return err
	}
	seal := appendHeader(bytes.Clone(s.key.Algorithm()), 0x03, int64(1+size)) // BIT STRING with no bits unused
	seal = append(seal, 0)
	total := int64(len(tbs)) + lines.Octets + int64(len(tail)+len(seal)+size)
	if total > MaxOctets {
		return fmt.Errorf("it would be %d octets long", total)
	}
	if _, err := w.Write(appendHeader(nil, 0x30, total)); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	digest := s.key.Digester(total)
	if err := lines.write(io.MultiWriter(digest, w), tbs, tail); err != nil {
		return err
	}
	signature, err := s.key.SignSized(digest.Message(), size, s.cert)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if _, err := w.Write(append(seal, signature...)); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// frame encodes what stands before and after the entries in the content of
// TBSCertList (RFC 5280, 5.1.2).
func (s *Signer) frame(list *List) (head, tail []byte, err error) {
	var b cryptobyte.Builder
	b.AddASN1Int64(1) // v2
	b.AddBytes(s.key.Algorithm())
	b.AddBytes(s.cert.RawSubject)
	addTime(&b, list.ThisUpdate)
	addTime(&b, list.NextUpdate)
	if head, err = b.Bytes(); err != nil {
		return nil, nil, err
	}
	var e cryptobyte.Builder
	e.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { s.addExtensions(b, list) })
	})
	tail, err = e.Bytes()
	return head, tail, err
}

// appendHeader appends tag and length in DER.
func appendHeader(b []byte, tag byte, length int64) []byte {
	b = append(b, tag)
	if length < 0x80 {
		return append(b, byte(length))
	}
	octets := 1
	for n := length >> 8; n > 0; n >>= 8 {
		octets++
	}
	b = append(b, 0x80|byte(octets))
	for i := octets - 1; i >= 0; i-- {
		b = append(b, byte(length>>(8*i)))
	}
	return b
}

// write writes the to-be-signed list: head, lines, tail.
func (l *Lines) write(w io.Writer, head, tail []byte) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if _, err := out.Write(head); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if l.Count > 0 {
		check := lineWriter{out: out, lines: l}
		err := l.Write(check.line)
		if check.err != nil { // also if Write kept it to itself
			err = check.err
		}
		if err != nil {
			return fmt.Errorf("entries: %w", err)
		}
		if check.count != l.Count || check.octets != l.Octets {
			return fmt.Errorf("%d entries of %d octets were announced, %d of %d came", l.Count, l.Octets, check.count, check.octets)
		}
	}
	if _, err := out.Write(tail); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// lineWriter checks lines as it writes them.
type lineWriter struct {
	out    *bufio.Writer
	lines  *Lines
	count  int
	octets int64
	last   [20]byte // content of the last serial
	length int      // of it
	err    error
}

func (w *lineWriter) line(line []byte) error {
	if w.err != nil {
		return w.err
	}
	w.err = w.write(line)
	return w.err
}

func (w *lineWriter) write(line []byte) error {
	tag, body, rest, ok := splitDER(line)
	if !ok || tag != 0x30 || len(rest) > 0 || len(line) > MaxLine {
		return fmt.Errorf("line %d is not one SEQUENCE", w.count)
	}
	tag, serial, _, ok := splitDER(body)
	// RFC 5280, 4.1.2.2: positive, 20 octets at most.
	if !ok || tag != 0x02 || !minimalInteger(serial) || serial[0] >= 0x80 || len(serial) > len(w.last) {
		return fmt.Errorf("line %d has no serial", w.count)
	}
	if compareIntegers(serial, w.last[:w.length]) <= 0 {
		return fmt.Errorf("serial %x is twice in the list or not in order", serial)
	}
	w.length = copy(w.last[:], serial)
	w.count++
	w.octets += int64(len(line))
	if w.count > w.lines.Count || w.octets > w.lines.Octets {
		return fmt.Errorf("more came than the %d entries of %d octets that were announced", w.lines.Count, w.lines.Octets)
	}
	_, err := w.out.Write(line)
	return err
}
