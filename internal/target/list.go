package target

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
)

// Media types (RFC 2585, 4).
const (
	typeCRL         = "application/pkix-crl"
	typeCertificate = "application/pkix-cert"
)

// keyOf is what is mirrored: what the status listener serves as files. Whatever else is in
// the public directory, an editor's copy or half a file, stays there.
var keyOf = regexp.MustCompile(`^(?:crl/([a-z0-9]+(?:-[a-z0-9]+)*)/(?:full|0|[1-9][0-9]{0,8})\.crl|aia/([a-z0-9]+(?:-[a-z0-9]+)*)\.cer)$`)

// kind returns the issuer that a key belongs to and the media type.
func kind(key string) (issuer ca.IssuerID, mediaType string, ok bool) {
	m := keyOf.FindStringSubmatch(key)
	switch {
	case m == nil:
		return "", "", false
	case m[1] != "":
		return ca.IssuerID(m[1]), typeCRL, true
	}
	return ca.IssuerID(m[2]), typeCertificate, true
}

// Refusal says that the target's object stays as it is, because what is here may not
// replace it. Trying again helps only after somebody has looked.
type Refusal struct{ reason string }

func (r *Refusal) Error() string { return "not replaced: " + r.reason }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// head is what two objects under one key are compared by.
type head struct {
	size   int64
	sha256 [32]byte
	list   *crl.Head // nil: a certificate, whose content never changes
}

// readHead reads an object to its end, holding no more than a piece of it, and checks that it
// is what belongs under the key: a list that verifies under its issuer's certificate and
// is for this address, or that certificate itself.
func readHead(r io.Reader, key string, issuer *x509.Certificate) (head, error) {
	if strings.HasSuffix(key, ".cer") {
		der, err := io.ReadAll(io.LimitReader(r, int64(len(issuer.Raw))+1))
		if err == nil && !bytes.Equal(der, issuer.Raw) {
			err = errors.New("it is not the issuer's certificate")
		}
		return head{size: int64(len(der)), sha256: sha256.Sum256(der)}, err
	}
	reader, err := crl.NewReader(r, issuer)
	if err != nil {
		return head{}, err
	}
	list, err := reader.Finish()
	if err != nil {
		return head{}, err
	}
	if list.Number == nil {
		return head{}, errors.New("the list has no number that could be compared")
	}
	return head{size: list.Size, sha256: list.SHA256, list: list}, checkScope(list, key)
}

// checkScope: a list that names an address is the one of that address. The full list and
// the root's name none.
func checkScope(list *crl.Head, key string) error {
	switch {
	case list.Scope.Present && list.DistributionPoint == "":
		return errors.New("the list's scope is not one that is given out here")
	case list.DistributionPoint == "" && path.Base(key) != "full.crl" && !strings.HasPrefix(key, "crl/root/"):
		return errors.New("the list names no address and is no partition's")
	case list.DistributionPoint != "" && !strings.HasSuffix(list.DistributionPoint, "/"+key):
		return fmt.Errorf("the list is for %s", list.DistributionPoint)
	}
	return nil
}

// relation of what is here to what the target has.
type relation int

const (
	same  relation = iota
	newer          // what is here follows what the target has
	ahead          // what the target has follows what is here: another publisher's
)

// compare relates what is here to what the target has. Numbers and times that contradict
// each other are refused: the numbers of a restored database begin again below those that
// relying parties have seen, with new times.
func compare(here, there head) (relation, error) {
	if here.sha256 == there.sha256 && here.size == there.size {
		return same, nil
	}
	if here.list == nil || there.list == nil {
		return 0, refuse("the target has something else under a name whose content never changes")
	}
	a, b := here.list, there.list
	if a.DistributionPoint != b.DistributionPoint {
		return 0, refuse("the target's list is for %q, the one here for %q", b.DistributionPoint, a.DistributionPoint)
	}
	switch order := a.Number.Cmp(b.Number); {
	case order > 0 && !a.ThisUpdate.Before(b.ThisUpdate):
		return newer, nil
	case order < 0 && !b.ThisUpdate.Before(a.ThisUpdate):
		return ahead, nil
	}
	return 0, refuse("the target has number %v of %s, here is number %v of %s: one of them is not this installation's, or its database was restored",
		b.Number, b.ThisUpdate.UTC().Format(time.RFC3339), a.Number, a.ThisUpdate.UTC().Format(time.RFC3339))
}
