package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"sigill/internal/adminclient"
	"sigill/internal/adminclient/admintest"
	"sigill/internal/app"
	"sigill/internal/statement"
	"sigill/internal/wire"
)

func TestKeyNouns(t *testing.T) {
	d := &desk{admintest.Start(t), t}
	one, two := d.officer(1), d.officer(2)
	org := d.found(one, two)
	bootstrap := []string{"--org", org, "--second", "soft:" + two.path}
	karin := d.issue("9752000000000000301", "SE2321000016-K7B1", one, two, bootstrap)
	lars := d.issue("9752000000000000302", "SE2321000016-L3A9", one, two, bootstrap)
	d.persons(karin)
	holder := d.issue("9752000000000000303", "SE2321000016-A4O2", karin, lars, nil)
	file, serial := d.eid(karin, holder)

	shown := decoded[wire.Key](t, d.as(karin, "", "key", "show", "--certificate", file, "--json"))
	if shown.Count != 1 || shown.Blocked != nil || shown.Certificates[0].Serial != serial {
		t.Fatalf("show: %+v", shown)
	}
	if got := d.as(karin, "", "key", "show", shown.Fingerprint); got.code != 0 || !strings.Contains(got.out, serial) || !strings.Contains(got.out, "blocked") {
		t.Errorf("show by fingerprint: %+v", got)
	}
	d.wrongUse(karin, serial)
	d.foundKey(karin)

	both := karin
	both.more = []string{lars.pin}
	block := []string{"key", "block", "--serial", serial, "--second", "soft:" + lars.path}
	if got := d.as(both, "n\n", block...); got.code != exitFailed || !strings.Contains(got.err, "revoke as keyCompromise the 1 certificates") || !strings.Contains(got.err, "Nothing was done") {
		t.Errorf("declined: %+v", got)
	}
	own := append(block[:len(block)-1:len(block)-1], "soft:"+karin.path)
	twice := karin
	twice.more = []string{karin.pin}
	if got := d.as(twice, "y\n", own...); got.code != exitFailed || !strings.Contains(got.err, "statement.form") {
		t.Errorf("one administrator twice: %+v", got)
	}
	done := decoded[wire.Key](t, d.as(both, "y\n", append(block, "--json")...))
	if done.Blocked == nil || done.Blocked.Cause != "administrators" || done.Certificates[0].State != "revoked" {
		t.Errorf("blocked: %+v", done)
	}
	if got := d.as(holder, "", "eid", "list"); got.code != exitFailed || !strings.Contains(got.err, "login.") {
		t.Errorf("the holder logs in: %+v", got)
	}
	if list := decoded[wire.Incidents](t, d.as(karin, "", "incident", "list", "--json")); len(list.Incidents) != 0 {
		t.Errorf("incidents: %+v", list)
	}
	if got := d.as(karin, "", "incident", "show", "inc_0123456789"); got.code != exitFailed {
		t.Errorf("no such incident: %+v", got)
	}
	report := decoded[app.KeyReport](t, program(t, "", "doctor", "keys", "--dir", d.Dir, "--json"))
	if report.Certificates < 6 || report.Keys < 6 {
		t.Errorf("doctor keys: %+v", report)
	}
	if got := program(t, "", "doctor", "--dir", d.Dir); got.code != 0 || !strings.Contains(got.out, "weak_keys") {
		t.Errorf("doctor: %+v", got)
	}
}

func (d *desk) wrongUse(by card, serial string) {
	d.t.Helper()
	for _, args := range [][]string{
		{"key", "show"}, {"key", "show", "00", "--serial", serial}, {"key", "block"}, {"key", "block", "--serial", serial},
		{"key", "block", "--serial", serial, "--proof", "x"},
	} {
		if got := d.as(by, "", args...); got.code != exitUsage {
			d.t.Errorf("%v: %+v", args, got)
		}
	}
	if got := d.as(by, "", "key", "show", strings.Repeat("0", 64)); got.code != exitFailed {
		d.t.Errorf("a key of nobody: %+v", got)
	}
}

// foundKey proves a private key that was found in a file, and blocks it.
func (d *desk) foundKey(by card) {
	t := d.t
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := d.file("found.pem", "found in a backup\n"+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	made := program(t, "", "key", "prove", "--key", file)
	proof := decoded[wire.Compromise](t, made)
	if bytes.Contains([]byte(made.out), der) || proof.DryRun {
		t.Errorf("the proof is %s", made.out)
	}
	fp, err := adminclient.KeyFingerprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.ParsePKIXPublicKey(proof.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := statement.Verify(pub, []byte("sigill-key-compromise-v1\nkey: "+fp+"\n"), proof.Signature); err != nil {
		t.Error(err)
	}
	if got := program(t, "", "key", "prove", "--key", d.file("x.pem", "nothing")); got.code != exitFailed || !strings.Contains(got.err, "no private key") {
		t.Errorf("no key: %+v", got)
	}
	blocked := decoded[wire.Key](t, d.as(by, "y\n", "key", "block", "--proof", d.file("proof.json", made.out), "--json"))
	if blocked.Blocked == nil || blocked.Blocked.Cause != "proof" || blocked.Fingerprint != fp || blocked.Count != 0 {
		t.Errorf("blocked: %+v", blocked)
	}
	proof.Signature[10] ^= 1
	broken, err := json.Marshal(proof)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.as(by, "y\n", "key", "block", "--proof", d.file("broken.json", string(broken))); got.code != exitFailed || !strings.Contains(got.err, "key.proof") {
		t.Errorf("a broken proof: %+v", got)
	}
}

func TestProgressIsToldAfterAWhile(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := progress{to: &out, now: func() time.Time { return now }, next: now.Add(progressEvery)}
	for i := range 5 {
		p.at("certificates", i, 0)
		now = now.Add(time.Second)
	}
	p.at("shared primes", 3, 7)
	p.at("shared primes", 4, 7)
	if got := out.String(); got != "certificates: 2\ncertificates: 4\n" {
		t.Errorf("%q", got)
	}
	now = now.Add(time.Second)
	p.at("shared primes", 5, 7)
	if !strings.HasSuffix(out.String(), "shared primes: 5 of 7\n") {
		t.Errorf("%q", out.String())
	}
}
