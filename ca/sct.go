package ca

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	asn "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/internal/der"
)

// oidSCTList is the extension of RFC 6962, 3.3.
var oidSCTList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// addSCTList returns tbs with the SCT list as its last extension. A log's
// verifier takes the extension out again and must get tbs.
func addSCTList(tbs, list []byte) ([]byte, error) {
	if err := readSCTList(list); err != nil {
		return nil, err
	}
	value, err := der.OctetString(list)
	if err != nil {
		return nil, fmt.Errorf("encoding SCT list: %w", err)
	}
	return der.AppendExtension(tbs, der.Extension{ID: oidSCTList, Value: value})
}

// readSCTList checks the form of a SignedCertificateTimestampList: a vector of
// 2^16-1 octets at most, of non-empty vectors (RFC 6962, 3.3).
func readSCTList(list []byte) error {
	in := cryptobyte.String(list)
	var all cryptobyte.String
	if !in.ReadUint16LengthPrefixed(&all) || !in.Empty() || all.Empty() {
		return errors.New("SCT list is not one filled vector")
	}
	for !all.Empty() {
		var sct cryptobyte.String
		if !all.ReadUint16LengthPrefixed(&sct) || sct.Empty() {
			return errors.New("SCT list holds something that is no SCT")
		}
	}
	return nil
}

// embeddedSCTList returns the SCT list that is the last extension of tbs.
func embeddedSCTList(tbs []byte) ([]byte, error) {
	parts, err := der.ParseTBS(tbs)
	if err != nil {
		return nil, err
	}
	last := parts.Extensions[len(parts.Extensions)-1]
	if !last.ID.Equal(oidSCTList) || last.Critical {
		return nil, errors.New("its last extension is not an SCT list")
	}
	value := cryptobyte.String(last.Value)
	var list cryptobyte.String
	if !value.ReadASN1(&list, asn.OCTET_STRING) || !value.Empty() {
		return nil, errors.New("its SCT list is not one octet string")
	}
	return list, nil
}

// checkSCTList checks that tbs is tbs0, or tbs0 and an SCT list at its end.
func checkSCTList(tbs, tbs0 []byte) error {
	if bytes.Equal(tbs, tbs0) {
		return nil
	}
	if _, err := embeddedSCTList(tbs); err != nil {
		return err
	}
	without, err := der.RemoveExtension(tbs, oidSCTList)
	if err != nil {
		return err
	}
	if !bytes.Equal(without, tbs0) {
		return errors.New("without its SCT list it is not what the log saw")
	}
	return nil
}
