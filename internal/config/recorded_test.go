package config

import (
	"reflect"
	"strings"
	"testing"
)

// What is recorded is the configuration in effect: it reads as the same one.
func TestRecordedIsWhatIsInEffect(t *testing.T) {
	text, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(append([]byte("# the old password was hunter2\n"), text...))
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := c.Recorded()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(recorded), "hunter2") {
		t.Error("a comment is recorded for ever")
	}
	again, err := Parse(recorded)
	if err != nil {
		t.Fatalf("%v in\n%s", err, recorded)
	}
	if !reflect.DeepEqual(c, again) {
		t.Errorf("recorded is\n%+v\nand in effect\n%+v", again, c)
	}
	for _, key := range []string{"status_url: http://127.0.0.1:8080", "partitions: 1", "full_every: ", "cache: "} {
		if !strings.Contains(string(recorded), key) {
			t.Errorf("%q is not in\n%s", key, recorded)
		}
	}
}

// The database's password is in no form of its address that is recorded.
func TestRecordedHidesThePassword(t *testing.T) {
	for address, want := range map[string]string{
		"sqlite:sigill.db":                                         "sqlite:sigill.db",
		"postgres://u:hunter2@db.example:5432/s":                   "postgres://u:hidden@db.example:5432/s",
		"postgres://u:hunter%32@db.example/s?sslmode=require":      "postgres://u:hidden@db.example/s?sslmode=require",
		"postgresql://u@db/s?password=hunter2&sslpassword=hunter2": "postgresql://u@db/s?password=hidden&sslpassword=hidden",
		"postgres://u@db/s#hunter2":                                "postgres://u@db/s",
		"postgres://u@db/s":                                        "postgres://u@db/s",
		"host=db user=u password=hunter2":                          "hidden",
		"postgres:u:hunter2@db":                                    "hidden",
		"postgres://u:hunter2@[db/s":                               "hidden",
		"mysql://u:hunter2@db/s":                                   "hidden",
	} {
		c := Config{Database: address}
		text, err := c.Recorded()
		if err != nil {
			t.Fatal(err)
		}
		if got := withoutPassword(address); got != want || strings.Contains(string(text), "hunter") {
			t.Errorf("%s is recorded as %s, want %s", address, got, want)
		}
	}
}
