package app

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/keys"
	"sigill/orders/issue"
	"sigill/policy"
)

// TestPartitionsGrow: certificates of before keep the partition that they name,
// and new ones use all of the new ones.
func TestPartitionsGrow(t *testing.T) {
	dir := make1(t, "") // of two partitions
	serving(t, dir, func(Addresses) {})
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	before := map[ca.Serial]int{}
	some := func(n int) (used map[int]bool) {
		t.Helper()
		used = map[int]bool{}
		for range n {
			c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileServer)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(c.DER)
			if err != nil {
				t.Fatal(err)
			}
			issuer := a.Issuers[keys.FunctionCA]
			if len(cert.CRLDistributionPoints) != 1 || cert.CRLDistributionPoints[0] != issuer.CRLURL(c.Partition) {
				t.Errorf("%s: partition %d, CDP %v", c.Serial, c.Partition, cert.CRLDistributionPoints)
			}
			before[c.Serial], used[c.Partition] = c.Partition, true
		}
		return used
	}
	if used := some(12); len(used) != 2 {
		t.Errorf("12 certificates use partitions %v of two", used)
	}
	old := len(before)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	replaced("sigill.yaml", "partitions: 2", "partitions: 4")(t, dir)
	if a, err = open(t, dir, time.Now); err != nil {
		t.Fatal(err)
	}
	defer func() { a.Close() }()
	err = a.DB.Issue().View(t.Context(), func(tx *issue.Tx) error {
		for serial, partition := range before {
			c, err := tx.CertificateBySerial(serial)
			if err != nil || c.Partition != partition {
				t.Errorf("%s was in partition %d and is in %+v, %v", serial, partition, c, err)
			}
		}
		return nil
	})
	if err != nil || old != 12 {
		t.Fatal(old, err)
	}
	if used := some(40); len(used) != 4 {
		t.Errorf("40 certificates use partitions %v of four", used)
	}
	if _, err := a.Publisher.Publish(t.Context(), time.Now().Add(time.Minute)); err != nil {
		t.Errorf("publishing four partitions: %v", err)
	}
	// What is revoked is on the list that its certificate names.
	err = a.DB.Issue().Update(t.Context(), func(tx *issue.Tx) error {
		for serial := range before {
			c, err := tx.CertificateBySerial(serial)
			if err == nil {
				_, err = issue.Revoke(tx, c, ca.Superseded, "test", "system", a.now())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Publisher.Publish(t.Context(), time.Now().Add(2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	for serial, p := range before {
		list := publicList(t, dir, keys.FunctionCA, p)
		found := false
		for _, e := range list.RevokedCertificateEntries {
			found = found || e.SerialNumber.Cmp(serial.Int()) == 0
		}
		if !found {
			t.Errorf("%s is not on list %d", serial, p)
		}
	}
}

// TestPartitionsNeverShrink: with fewer partitions than are in use nothing is
// served, and it is said which number would do; also where only a revocation shows
// what is in use.
func TestPartitionsNeverShrink(t *testing.T) {
	refusesStart(t, func(t *testing.T, dir string) {
		serving(t, dir, func(Addresses) {})
		replaced("sigill.yaml", "partitions: 2", "partitions: 1")(t, dir)
	}, time.Now, "set it to 2 or more")
	refusesStart(t, func(t *testing.T, dir string) {
		a, err := open(t, dir, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for {
			c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileServer)
			if err != nil {
				t.Fatal(err)
			}
			if c.Partition == 0 {
				continue
			}
			err = a.DB.Issue().Update(t.Context(), func(tx *issue.Tx) error {
				_, err := issue.Revoke(tx, c, ca.Superseded, "test", "system", a.now())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		replaced("sigill.yaml", "partitions: 2", "partitions: 1")(t, dir)
	}, time.Now, "function-v1 has certificates")
}

// TestPartitionsOnPostgreSQL: the same question to the other database.
func TestPartitionsOnPostgreSQL(t *testing.T) {
	dir := make1(t, postgres.URL(t))
	serving(t, dir, func(Addresses) {})
	replaced("sigill.yaml", "partitions: 2", "partitions: 1")(t, dir)
	if a, err := open(t, dir, time.Now); err == nil {
		a.Close()
		t.Fatal("opened")
	} else if !strings.Contains(err.Error(), "set it to 2 or more") {
		t.Error(err)
	}
}

// TestAddressesAgree: for every profile of every issuing CA the address in
// certificates is the scope of a list; a start in which one octet differs is
// refused.
func TestAddressesAgree(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	compared := 0
	for _, each := range a.Hierarchy.Issuers {
		for _, profile := range a.Issuers[each.ID].ProfileNames() {
			points, err := a.Issuers[each.ID].DistributionPoints(profile)
			if err != nil || len(points) != 2 {
				t.Fatalf("%s of %s: %v, %v", profile, each.ID, points, err)
			}
			for _, p := range points {
				compared += len(p)
			}
		}
	}
	// Three CAs of persons with two profiles, the Card CA with one and the Function CA
	// with two, of two partitions; OCSP signers name none.
	if compared != 2*(3*2+1+2) {
		t.Errorf("%d addresses were compared", compared)
	}
	if err := a.checkAddresses(); err != nil {
		t.Error(err)
	}
	for i := range a.Publisher.Scopes {
		s := &a.Publisher.Scopes[i]
		if s.URL == "" {
			continue
		}
		was := s.URL
		for _, other := range []string{was + "/", strings.Replace(was, "http", "HTTP", 1), strings.Replace(was, "0.crl", "1.crl", 1) + "x"} {
			s.URL = other
			if err := a.checkAddresses(); err == nil {
				t.Errorf("%q in place of %q was accepted", other, was)
			}
		}
		s.URL = was
	}
	// A scope that is missing.
	scopes := a.Publisher.Scopes
	a.Publisher.Scopes = scopes[1:]
	if err := a.checkAddresses(); err == nil || !strings.Contains(err.Error(), "partition 0") {
		t.Errorf("without a list: %v", err)
	}
	a.Publisher.Scopes = scopes
}
