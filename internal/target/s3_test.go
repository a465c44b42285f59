package target

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
)

func contentOf(data []byte) Content {
	return Content{Body: bytes.NewReader(data), Size: int64(len(data)), SHA256: sha256.Sum256(data), Type: typeCRL}
}

// TestOutageOfTheStore: the server goes away, lists are published, it comes back on the same
// port, and what was published arrives.
func TestOutageOfTheStore(t *testing.T) {
	s := startServer(t)
	h := newHere(t)
	h.put(firstKey, h.list(0, 1))
	m := h.mirror(s.target(""))
	stop := run(t, m)
	until(t, "the first list arrives", func() bool { return m.Status().Objects == 4 && m.Status().Behind == 0 })
	s.stop()
	for n := int64(2); n < 6; n++ {
		h.put(firstKey, h.list(0, n))
	}
	h.put(secondKey, h.list(1, 1))
	until(t, "the outage is told", func() bool {
		st := m.Status()
		return st.Behind == 2 && errors.Is(st.Err, ErrUnavailable) && st.Failed > 2 && st.Lag > 0
	})
	s.start()
	until(t, "all is there", func() bool { return m.Status().Behind == 0 })
	stop()
	if n, err := numberAt(s.target(""), h); n != 5 || err != nil {
		t.Errorf("the target has number %d, %v", n, err)
	}
	if st := m.Status(); st.Err != nil || st.Lag != 0 {
		t.Errorf("status %+v", st)
	}
}

// TestHeadersOfObjects: what stands between relying parties and the store reads them.
func TestHeadersOfObjects(t *testing.T) {
	s := startServer(t)
	h := newHere(t)
	h.put(firstKey, h.list(0, 1))
	to := s.target("pki")
	drain(t, h.mirror(to))
	for key, want := range map[string]string{firstKey: "application/pkix-crl", "aia/root.cer": "application/pkix-cert"} {
		info, err := to.core.StatObject(t.Context(), bucket, "pki/"+key, minio.StatObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if info.ContentType != want || info.Metadata.Get("Cache-Control") != "public, max-age=60" {
			t.Errorf("%s: %s, %v", key, info.ContentType, info.Metadata)
		}
		present, err := to.Look(t.Context(), key)
		if err != nil || present.SHA256 != sha256.Sum256(revtest.Read(t, filepath.Join(h.dir, key))) {
			t.Errorf("%s: hash beside the object is %x, %v", key, present.SHA256, err)
		}
	}
	if _, err := to.Versioned(t.Context()); err != nil {
		t.Errorf("asking for versioning: %v", err)
	}
}

// TestLargeList: a list that no part-wise upload would take in one go is put as one object,
// under its condition.
func TestLargeList(t *testing.T) {
	s := startServer(t)
	h := newHere(t)
	entries := make([]crl.Revoked, 400_000) // 20 MB, more than the client's part size
	for i := range entries {
		entries[i] = crl.Revoked{Serial: serialOf(uint32(i + 1)), At: revtest.Start, Reason: ca.Superseded}
	}
	h.put(fullKey, h.list(-1, 1, entries...))
	to := s.target("")
	drain(t, h.mirror(to))
	h.put(fullKey, h.list(-1, 2, entries...))
	drain(t, h.mirror(to))
	want := revtest.Read(t, filepath.Join(h.dir, fullKey))
	if !bytes.Equal(got(t, to, fullKey), want) || len(want) < 16<<20 {
		t.Errorf("the list of %d octets is not there", len(want))
	}
}

func serialOf(n uint32) ca.Serial {
	var s ca.Serial
	s[0] = 0x40
	s[len(s)-4], s[len(s)-3], s[len(s)-2], s[len(s)-1] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return s
}

// TestStoreWithoutConditionsIsRefused: a server that takes every PUT is found out before
// anything is put, and nothing is.
func TestStoreWithoutConditionsIsRefused(t *testing.T) {
	for name, ignores := range map[string]func(*http.Request) bool{
		"ignores both":          func(*http.Request) bool { return true },
		"ignores If-Match":      func(r *http.Request) bool { return r.Header.Get("If-Match") != "" },
		"ignores If-None-Match": func(r *http.Request) bool { return r.Header.Get("If-None-Match") != "" },
	} {
		t.Run(name, func(t *testing.T) {
			store := &careless{ignores: ignores, objects: map[string]string{}}
			server := httptest.NewServer(store)
			defer server.Close()
			to, err := NewS3(S3Config{Endpoint: server.URL, Bucket: bucket, Keys: func() (Keys, error) { return testKeys, nil }})
			if err != nil {
				t.Fatal(err)
			}
			h := newHere(t)
			m := h.mirror(to)
			if err := m.Drain(t.Context()); !errors.Is(err, errConditions) {
				t.Errorf("drained with %v", err)
			}
			for key := range store.objects {
				if !strings.HasSuffix(key, probeName) {
					t.Errorf("%s was put", key)
				}
			}
		})
	}
}

// careless is an object store that ignores conditions.
type careless struct {
	ignores func(*http.Request) bool
	objects map[string]string // path to entity tag
}

func (c *careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tag, exists := c.objects[r.URL.Path]
	if r.Method == http.MethodHead {
		if !exists {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", tag)
		w.Header().Set("Last-Modified", revtest.Start.Format(http.TimeFormat))
		return
	}
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if !c.ignores(r) && (match != "" && match != tag || none == "*" && exists) {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	c.objects[r.URL.Path] = fmt.Sprintf(`"%032d"`, len(c.objects)+1)
	w.Header().Set("ETag", c.objects[r.URL.Path])
}

// TestBucketMustBeThere: it is told what is wrong, and no secret.
func TestBucketMustBeThere(t *testing.T) {
	s := startServer(t)
	for name, c := range map[string]S3Config{
		"no such bucket": {Endpoint: "http://" + s.address, Bucket: "elsewhere", Keys: func() (Keys, error) { return testKeys, nil }},
		"wrong secret": {Endpoint: "http://" + s.address, Bucket: bucket, Keys: func() (Keys, error) {
			return Keys{AccessKey: testKeys.AccessKey, SecretKey: "hunter2hunter2"}, nil
		}},
		"no credentials": {Endpoint: "http://" + s.address, Bucket: bucket, Keys: func() (Keys, error) { return Keys{}, errors.New("the file is gone") }},
	} {
		t.Run(name, func(t *testing.T) {
			to, err := NewS3(c)
			if err != nil {
				t.Fatal(err)
			}
			h := newHere(t)
			m := h.mirror(to)
			var log bytes.Buffer
			m.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			err = m.Drain(t.Context())
			if err == nil {
				t.Fatal("drained")
			}
			told := log.String() + err.Error()
			for _, secret := range []string{testKeys.SecretKey, "hunter2"} {
				if strings.Contains(told, secret) {
					t.Errorf("the secret is told: %s", told)
				}
			}
		})
	}
}

func TestNewS3Refuses(t *testing.T) {
	keys := func() (Keys, error) { return testKeys, nil }
	for name, c := range map[string]S3Config{
		"no endpoint":         {Bucket: bucket, Keys: keys},
		"no scheme":           {Endpoint: "s3.example", Bucket: bucket, Keys: keys},
		"path":                {Endpoint: "https://s3.example/status", Bucket: bucket, Keys: keys},
		"credentials in it":   {Endpoint: "https://a:b@s3.example", Bucket: bucket, Keys: keys},
		"no bucket":           {Endpoint: "https://s3.example", Keys: keys},
		"no credentials":      {Endpoint: "https://s3.example", Bucket: bucket},
		"query":               {Endpoint: "https://s3.example?x=1", Bucket: bucket, Keys: keys},
		"something else":      {Endpoint: "ftp://s3.example", Bucket: bucket, Keys: keys},
		"no address anywhere": {Endpoint: "https://", Bucket: bucket, Keys: keys},
	} {
		if _, err := NewS3(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestKeysFrom(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	good := `{"access_key": "AK", "secret_key": "SK-very-secret"}`
	write("good", good, 0o600)
	write("token", `{"access_key": "AK", "secret_key": "SK-very-secret", "session_token": "T"}`, 0o600)
	write("open", good, 0o644)
	write("half", `{"access_key": "AK"}`, 0o600)
	write("more", `{"access_key": "AK", "secret_key": "SK-very-secret", "note": "SK-very-secret"}`, 0o600)
	write("no", `SK-very-secret`, 0o600)
	env := map[string]string{"CREDENTIALS_DIRECTORY": dir, "A": "AK", "S": "SK-very-secret", "EMPTY": ""}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	want := Keys{AccessKey: "AK", SecretKey: "SK-very-secret"}
	for _, source := range []string{"file:good", "file:" + filepath.Join(dir, "good"), "credential:good", "credential:open", "env:A,S"} {
		keys, err := KeysFrom(source, dir, lookup)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := keys(); k != want || err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	keys, _ := KeysFrom("file:token", dir, lookup)
	if k, err := keys(); err != nil || k.SessionToken != "T" {
		t.Errorf("session token: %v", err)
	}
	for _, source := range []string{"file:open", "file:half", "file:more", "file:no", "file:none", "credential:none", "env:A,NONE", "env:A,EMPTY"} {
		keys, err := KeysFrom(source, dir, lookup)
		if err != nil {
			t.Fatal(err)
		}
		k, err := keys()
		if err == nil {
			t.Errorf("%s is accepted", source)
		} else if strings.Contains(err.Error(), "SK-very-secret") {
			t.Errorf("%s: the error tells the secret: %v", source, err)
		}
		if k != (Keys{}) {
			t.Errorf("%s: keys beside an error", source)
		}
	}
	for _, source := range []string{"", "AK:SK", "file:", "credential:../x", "credential:", "env:A", "env:A,B,C,D", "vault:x"} {
		if _, err := KeysFrom(source, dir, lookup); err == nil {
			t.Errorf("%q is a source", source)
		}
	}
}

func TestKeysNeverPrint(t *testing.T) {
	text, err := json.Marshal(struct{ K Keys }{testKeys})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "keys", testKeys)
	all := string(text) + log.String() + fmt.Sprintf("%v %+v %#v %s %q", testKeys, testKeys, testKeys, testKeys, testKeys)
	if strings.Contains(all, "secret") || strings.Contains(all, "access") {
		t.Errorf("keys print: %s", all)
	}
}
