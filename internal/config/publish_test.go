package config

import (
	"strings"
	"testing"
)

const storeTarget = `
  targets:
    cdn:
      s3: {endpoint: 'https://s3.example', bucket: status, prefix: pki, region: eu-north-1, credentials: 'file:secrets/cdn'}
    other-hall:
      directory: /mnt/status
`

func withTargets(t *testing.T, targets string) (*Config, error) {
	t.Helper()
	good, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(good), "\n  targets: {}\n", targets, 1)
	if text == string(good) {
		t.Fatal("the template has no empty list of targets")
	}
	return Parse([]byte(text))
}

func TestTargets(t *testing.T) {
	c, err := withTargets(t, storeTarget)
	if err != nil {
		t.Fatal(err)
	}
	cdn := c.Publish.Targets["cdn"]
	if cdn.S3 == nil || *cdn.S3 != (S3{"https://s3.example", "status", "pki", "eu-north-1", "file:secrets/cdn"}) ||
		c.Publish.Targets["other-hall"].Directory != "/mnt/status" {
		t.Errorf("targets are %+v", c.Publish.Targets)
	}
	for _, source := range []string{"credential:sigill-cdn", "env:CDN_ACCESS,CDN_SECRET", "env:A,B,C", "file:/etc/sigill/cdn.json"} {
		if _, err := withTargets(t, strings.Replace(storeTarget, "file:secrets/cdn", source, 1)); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestTargetsRefused(t *testing.T) {
	for _, test := range []struct{ name, from, to, want string }{
		{"unknown key", "bucket: status", "buckets: status", "buckets"},
		{"two kinds", "directory: /mnt/status", "directory: /mnt/status\n      s3: {endpoint: 'https://s3.example', bucket: b, credentials: 'file:x'}", "either"},
		{"no kind", "directory: /mnt/status", "{}", "either"},
		{"relative directory", "/mnt/status", "status", "absolute"},
		{"name", "other-hall", "Other Hall", "lower-case"},
		{"no endpoint", "https://s3.example", "s3.example", "endpoint"},
		{"path in the endpoint", "https://s3.example", "https://s3.example/status", "endpoint"},
		{"no bucket", "bucket: status", "bucket: ''", "bucket"},
		{"secret in the file", "file:secrets/cdn", "AKIAXXXX:verysecret", "never stand"},
		{"one variable", "file:secrets/cdn", "env:CDN", "never stand"},
		{"same place twice", "directory: /mnt/status", "s3: {endpoint: 'https://s3.example', bucket: status, prefix: pki/, credentials: 'file:x'}", "same place"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.Replace(storeTarget, test.from, test.to, 1)
			if changed == storeTarget {
				t.Fatal("nothing was changed")
			}
			_, err := withTargets(t, changed)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse = %v, want an error that names %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "verysecret") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// TestPresignTarget: answers that are signed ahead go to one place that is there.
func TestPresignTarget(t *testing.T) {
	c, err := withTargets(t, storeTarget)
	if err != nil {
		t.Fatal(err)
	}
	c.OCSP.Presign.Target = "cdn"
	if err := c.checkOCSP(); err != nil {
		t.Error(err)
	}
	c.OCSP.Presign.Dir = "ahead"
	if err := c.checkOCSP(); err == nil || !strings.Contains(err.Error(), "one place") {
		t.Errorf("two places: %v", err)
	}
	c.OCSP.Presign.Dir, c.OCSP.Presign.Target = "", "nowhere"
	if err := c.checkOCSP(); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a target that is not there: %v", err)
	}
}

// TestPlainEndpointInProduction: over http anybody on the way may answer as the store.
func TestPlainEndpointInProduction(t *testing.T) {
	c, err := withTargets(t, strings.Replace(storeTarget, "https://", "http://", 1))
	if err != nil {
		t.Fatalf("in a test installation: %v", err)
	}
	c.Environment = Production
	if err := c.checkPublish(); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("in production: %v", err)
	}
}
