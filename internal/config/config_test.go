package config

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTemplateIsAConfiguration(t *testing.T) {
	s := Defaults()
	s.Organisation = "Region Österbyggd: nr 1" // needs quoting
	s.Bureaus = map[string]string{"bureau": "bureau/public.pem"}
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if c.Organisation != s.Organisation || c.Bureaus["bureau"] != "bureau/public.pem" || c.Listen.Card != s.Card ||
		time.Duration(c.Download.OrderOpen) != 90*24*time.Hour || c.Provenance[3] != "session" {
		t.Errorf("configuration is not what was set: %+v", c)
	}
	if c.Dir = "/d"; c.DatabaseURL() != "sqlite:/d/sigill.db" {
		t.Errorf("DatabaseURL = %s", c.DatabaseURL())
	}
}

// replaced puts to in the place of from, and takes away what to tells again.
func replaced(text, from, to string) string {
	text = strings.Replace(text, from, to, 1)
	for _, again := range []string{"\n  reserved_for_priority: 0", "\n  reserve: 8MiB"} {
		if key, _, _ := strings.Cut(again, ": "); strings.Contains(to, key) {
			text = strings.Replace(text, again, "", 1)
		}
	}
	return text
}

func TestParseRefuses(t *testing.T) {
	good, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, from, to, want string }{
		{"unknown key", "environment: test", "enviroment: test", "enviroment"},
		{"unknown environment", "environment: test", "environment: qa", "environment"},
		{"https status", "status_url: http://", "status_url: https://", "status_url"},
		{"passphrase in a file in production", "environment: test", "environment: production", "passphrase"},
		{"unknown provenance", "3: session", "3: hearsay", "hearsay"},
		{"unknown level", "3: session", "4: session", "level 4"},
		{"no time", "pending_ttl: 24h", "pending_ttl: 0s", "pending_ttl"},
		{"no hosts", "  - localhost\n  - 127.0.0.1\n", "", "hosts"},
		{"no partitions", "partitions: 1", "partitions: 0", "partitions"},
		{"too many partitions", "partitions: 1", "partitions: 65537", "partitions"},
		{"status at every address", "status_url: http://127.0.0.1:8080", "status_url: http://0.0.0.0:8080", "names no host"},
		{"status at every IPv6 address", "status_url: http://127.0.0.1:8080", "status_url: http://[::]:8080", "names no host"},
		{"status at every mapped address", "status_url: http://127.0.0.1:8080", "status_url: 'http://[::ffff:0.0.0.0]:8080'", "names no host"},
		{"status at no host", "status_url: http://127.0.0.1:8080", "status_url: http://:8080", "names no host"},
		{"status at no port", "status_url: http://127.0.0.1:8080", "status_url: http://status.example:0", "port 0"},
		{"status at port 00", "status_url: http://127.0.0.1:8080", "status_url: http://status.example:00", "port 00"},
		{"status at too high a port", "status_url: http://127.0.0.1:8080", "status_url: http://status.example:65536", "port 65536"},
		{"pending too long", "pending_ttl: 24h", "pending_ttl: 72h1s", "pending_ttl"},
		{"armed too long", "armed_for: 2h", "armed_for: 24h1s", "armed_for"},
		{"open too long", "order_open: 90d", "order_open: 367d", "order_open"},
		{"valid too long", "validity: 1825d", "validity: 1827d", "validity"},
		{"valid so long that it overflows", "validity: 1825d", "validity: 214000d", "longer than times can be"},
		{"CRL for too long", "lifetime: 24h", "lifetime: 73h", "crl.lifetime"},
		{"CRL for too short", "lifetime: 24h", "lifetime: 59m", "crl.lifetime"},
		{"OCSP for too long", "validity: 1h", "validity: 13h", "ocsp.validity"},
		{"OCSP for too short", "validity: 1h", "validity: 59s", "ocsp.validity"},
		{"no room for answers", "cache: 256MiB", "cache: 0MiB", "ocsp.cache"},
		{"too much room for answers", "cache: 256MiB", "cache: 65GiB", "ocsp.cache"},
		{"less than no unknown", "unknown_per_address: 50", "unknown_per_address: -1", "unknown_per_address"},
		{"unknown that is no number", "unknown_per_address: 50", "unknown_per_address: .nan", "unknown_per_address"},
		{"hardly any connections", "status_connections: 16384", "status_connections: 15", "listen.status_connections"},
		{"all connections there are", "status_connections: 16384", "status_connections: 1048577", "listen.status_connections"},
		{"less than nothing at once", "issuing_at_once: 0", "issuing_at_once: -1", "issuing_at_once"},
		{"too much at once", "issuing_at_once: 0", "issuing_at_once: 10001", "issuing_at_once"},
		{"wait of none", "wait: 20s", "wait: 0s", "capacity.wait"},
		{"wait longer than connections", "wait: 20s", "wait: 26s", "capacity.wait"},
		{"a part of what is not told", "reserved_for_priority: 0\n", "reserved_for_priority: 1\n", "reserved_for_priority"},
		{"all is reserved", "issuing_at_once: 0", "issuing_at_once: 4\n  reserved_for_priority: 4", "reserved_for_priority"},
		{"reserved for nobody", "issuing_at_once: 0", "issuing_at_once: 4\n  reserved_for_priority: 1", "nobody"},
		{"priority of no number", "priority: []", "priority: ['556000-0000']", "556000-0000"},
		{"no size", "stop_issuing_below: 64MiB", "stop_issuing_below: 64", "size"},
		{"stops too late", "stop_issuing_below: 64MiB", "stop_issuing_below: 15MiB", "stop_issuing_below"},
		{"reserve too large for it", "stop_issuing_below: 64MiB", "stop_issuing_below: 16MiB\n  reserve: 9MiB", "twice the reserve"},
		{"reserve too large", "stop_issuing_below: 64MiB", "stop_issuing_below: 100GiB\n  reserve: 5GiB", "disk.reserve"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := replaced(string(good), test.from, test.to)
			if changed == string(good) {
				t.Fatalf("%q is not in the template", test.from)
			}
			_, err := Parse([]byte(changed))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse = %v, want an error that names %q", err, test.want)
			}
		})
	}
}

// TestBoundsAreAllowed: the bound itself is within.
func TestBoundsAreAllowed(t *testing.T) {
	good, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("pending_ttl: 24h", "pending_ttl: 72h", "armed_for: 2h", "armed_for: 24h", "order_open: 90d", "order_open: 366d",
		"validity: 1825d", "validity: 1826d", "lifetime: 24h", "lifetime: 72h", "validity: 1h", "validity: 12h").Replace(string(good))
	changed = strings.NewReplacer("issuing_at_once: 0", "issuing_at_once: 10000", "wait: 20s", "wait: 25s", "reserved_for_priority: 0", "reserved_for_priority: 9999",
		"priority: []", "priority: ['2321000016']", "stop_issuing_below: 64MiB", "stop_issuing_below: 8GiB", "reserve: 8MiB", "reserve: 4096MiB").Replace(changed)
	c, err := Parse([]byte(changed))
	if err != nil {
		t.Fatal(err)
	}
	if c.Capacity.Reserved != 9999 || c.Disk.StopIssuingBelow != 2*c.Disk.Reserve || c.Capacity.Priority[0] != "2321000016" {
		t.Errorf("the bounds were not set: %+v, %+v", c.Capacity, c.Disk)
	}
	if time.Duration(c.OCSP.Validity) != 12*time.Hour || time.Duration(c.Download.Validity) != 1826*24*time.Hour {
		t.Errorf("the bounds were not set: %+v", c)
	}
}

// TestSessionKeysInProduction: level 3 for keys that nobody has seen in a card is
// somebody's decision.
func TestSessionKeysInProduction(t *testing.T) {
	s := Defaults()
	s.Environment, s.Passphrase = Production, "credential"
	made, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(made)
	if err != nil || c.Provenance[3] != "attested" {
		t.Fatalf("a new production configuration: %v, %v", c, err)
	}
	session := strings.Replace(string(made), "3: attested", "3: session", 1)
	if _, err := Parse([]byte(session)); err == nil || !strings.Contains(err.Error(), "accept_session_keys") {
		t.Errorf("3: session alone: %v", err)
	}
	if _, err := Parse([]byte(strings.Replace(session, "accept_session_keys: false\n", "", 1))); err == nil {
		t.Error("3: session was accepted where nothing was decided")
	}
	s.AcceptSessionKeys = true
	decided, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Parse(decided); err != nil || c.Provenance[3] != "session" || !c.AcceptSessionKeys {
		t.Errorf("decided: %v, %v", c, err)
	}
}

func TestDurationText(t *testing.T) {
	for text, want := range map[string]string{"90d": "90d", "24h": "24h", "3d": "72h", "96h": "4d", "90m": "1h30m", "90s": "1m30s", "10m": "10m", "20h": "20h",
		"1h0m5s": "1h0m5s", "0s": "0s"} {
		var d, again Duration
		if err := d.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := d.MarshalText()
		if err != nil || string(got) != want {
			t.Errorf("%s is written %s, %v", text, got, err)
		}
		if err := again.UnmarshalText(got); err != nil || again != d {
			t.Errorf("%s is read back as %v, %v", got, again, err)
		}
	}
}

// TestOlderFile: a configuration of before there were these keys means what a new
// production one says.
func TestOlderFile(t *testing.T) {
	s := Defaults()
	s.Environment, s.Passphrase = Production, "credential"
	made, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	now, err := Parse(made)
	if err != nil {
		t.Fatal(err)
	}
	old, _, found := strings.Cut(string(made), "\ncapacity:")
	if !found {
		t.Fatal("there is no capacity in the template")
	}
	was, err := Parse([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if was.Disk != now.Disk || was.Capacity.Wait != now.Capacity.Wait || was.Capacity.IssuingAtOnce != now.Capacity.IssuingAtOnce {
		t.Errorf("without the keys: %+v %+v; with them: %+v %+v", was.Capacity, was.Disk, now.Capacity, now.Disk)
	}
}

// The file of an installation that was made before lists and answers had keys of their
// own is one of this version.
func TestFileOfAnEarlierVersion(t *testing.T) {
	text, err := os.ReadFile("testdata/before-lists.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if c.CRL.FullEvery != Duration(time.Hour) || c.CRL.AnnounceNext {
		t.Errorf("full list every %s", c.CRL.FullEvery)
	}
	c, err = Parse(bytes.Replace(text, []byte("lifetime: 24h"), []byte("lifetime: 1h"), 1))
	if err != nil || c.CRL.FullEvery != Duration(30*time.Minute) {
		t.Errorf("with lists that live an hour: every %v, %v", c, err)
	}
}

func TestSizeText(t *testing.T) {
	for text, want := range map[string]string{"512MiB": "512MiB", "2GiB": "2048MiB", "0MiB": "0MiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != want {
			t.Errorf("%s is read as %s, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "512", "512MB", "-1MiB", "1.5GiB", "MiB", "99999999999MiB"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a size", text)
		}
	}
}
