package crl

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SampleCRL returns what WriteCRL would write of these lines, with one octet of
// zeroes where the signature would be: form to be judged by linters, which nobody
// can take for a list. list.Entries must be empty.
func (s *Signer) SampleCRL(list List, lines [][]byte) ([]byte, error) {
	if len(list.Entries) > 0 {
		return nil, errors.New("crl sample: entries are given twice, as values and as lines")
	}
	head, tail, err := s.frame(&list)
	if err != nil {
		return nil, fmt.Errorf("crl sample: %w", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(head)
			if len(lines) > 0 {
				b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for _, line := range lines {
						b.AddBytes(line)
					}
				})
			}
			b.AddBytes(tail)
		})
		b.AddBytes(s.key.Algorithm())
		b.AddASN1BitString([]byte{0})
	})
	return b.Bytes()
}
