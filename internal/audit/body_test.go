package audit

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSeal(t *testing.T) {
	e := Event{ID: "evt_a", At: time.Date(2026, 3, 1, 13, 0, 0, 123456789, time.FixedZone("CET", 3600)),
		Act: CardBlocked, By: "officer:1",
		Public:   []Field{{"card", "9752000000000000001"}, {"detail", "a \"quote\", \\ and\ttab\x01 <&> å\u2028"}},
		Personal: []Field{{"number", "197001019990"}}}
	r, err := seal(e)
	if err != nil {
		t.Fatal(err)
	}
	sum := Commit(r.Personal[0])
	want := `{"id":"evt_a","at":"2026-03-01T12:00:00.123456Z","act":"card.blocked","by":"officer:1",` +
		`"public":[{"name":"card","value":"9752000000000000001"},{"name":"detail","value":"a \"quote\", \\ and\ttab\u0001 <&> å` + "\u2028" + `"}],` +
		`"commitments":[{"name":"number","hmac":"` + hexOf(sum[:]) + `"}]}`
	if string(r.Body) != want {
		t.Errorf("Body =\n%s\nwant\n%s", r.Body, want)
	}
	if !json.Valid(r.Body) {
		t.Error("Body is not JSON")
	}
	if r.Leaf != LeafHash(r.Body) || r.ID != e.ID || r.Act != e.Act || r.By != e.By {
		t.Errorf("Record = %+v", r)
	}
	if got := r.At.Format(time.RFC3339Nano); got != "2026-03-01T12:00:00.123456Z" {
		t.Errorf("At = %s, want UTC in microseconds", got)
	}
	if bytes.Contains(r.Body, []byte("197001019990")) {
		t.Error("Body holds a personal value")
	}
	again, err := seal(e)
	if err != nil {
		t.Fatal(err)
	}
	if again.Personal[0].Salt == r.Personal[0].Salt || again.Leaf == r.Leaf {
		t.Error("two events share a salt: equal values could be told by their commitments")
	}
}

// TestCommit fixes the form of a commitment by an example computed elsewhere:
// printf 'name\0Åsa' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…0f
func TestCommit(t *testing.T) {
	p := PersonalField{Name: "name", Value: "Åsa"}
	for i := range p.Salt {
		p.Salt[i] = byte(i)
	}
	const want = "78dc185b852af5d5d6f7975a532cc09fe7493a5f79ba75b065b9e53474ff0dff"
	if got := Commit(p); hexOf(got[:]) != want {
		t.Errorf("Commit = %x, want %s", got, want)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestSealRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Event)
	}{
		{"no id", func(e *Event) { e.ID = "" }},
		{"id of another type", func(e *Event) { e.ID = "ord_1" }},
		{"id with a quote", func(e *Event) { e.ID = `evt_"` }},
		{"long id", func(e *Event) { e.ID = "evt_" + strings.Repeat("a", maxID) }},
		{"unknown act", func(e *Event) { e.Act = "order.forged" }},
		{"no act", func(e *Event) { e.Act = "" }},
		{"nobody", func(e *Event) { e.By = "" }},
		{"by not UTF-8", func(e *Event) { e.By = "\xff" }},
		{"no time", func(e *Event) { e.At = time.Time{} }},
		{"year 10000", func(e *Event) { e.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"public name twice", func(e *Event) { e.Public = append(e.Public, e.Public[0]) }},
		{"personal name twice", func(e *Event) { e.Personal = append(e.Personal, e.Personal[0]) }},
		{"name public and personal", func(e *Event) { e.Personal = append(e.Personal, Field{"order", "x"}) }},
		{"name with NUL", func(e *Event) { e.Personal[0].Name = "na\x00me" }},
		{"empty name", func(e *Event) { e.Public[0].Name = "" }},
		{"name with a digit first", func(e *Event) { e.Public[0].Name = "1st" }},
		{"long name", func(e *Event) { e.Public[0].Name = strings.Repeat("n", maxName+1) }},
		{"long public value", func(e *Event) { e.Public[0].Value = strings.Repeat("v", MaxValue+1) }},
		{"long personal value", func(e *Event) { e.Personal[0].Value = strings.Repeat("v", MaxValue+1) }},
		{"public value not UTF-8", func(e *Event) { e.Public[0].Value = "\xc3" }},
		{"personal value not UTF-8", func(e *Event) { e.Personal[0].Value = "\xc3" }},
		{"too many fields", func(e *Event) {
			for i := range maxFields {
				e.Public = append(e.Public, Field{"f" + strconv.Itoa(i), ""})
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := told(1)
			tt.change(&e)
			if r, err := seal(e); err == nil {
				t.Errorf("sealed: %s", r.Body)
			}
		})
	}
}

func TestParseBodyIsStrict(t *testing.T) {
	r, err := seal(told(1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBody(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b.ID != r.ID || !b.At.Equal(r.At) || b.Act != r.Act || b.By != r.By || len(b.Public) != 2 || len(b.Commitments) != 2 ||
		b.Commitments[0].HMAC != Commit(r.Personal[0]) || b.Public[0] != (Field{"order", "ord_1"}) {
		t.Errorf("ParseBody = %+v", b)
	}
	text := string(r.Body)
	for name, changed := range map[string]string{
		"empty":               "",
		"null":                "null",
		"space":               " " + text,
		"newline at the end":  text + "\n",
		"two documents":       text + text,
		"other case":          strings.Replace(text, `"act"`, `"Act"`, 1),
		"unknown member":      strings.Replace(text, `"act"`, `"x":1,"act"`, 1),
		"member twice":        strings.Replace(text, `"act"`, `"id":"evt_0001","act"`, 1),
		"other escape":        strings.Replace(text, `per_1`, `per\u005f1`, 1),
		"no microseconds":     strings.Replace(text, `00:01.000000Z`, `00:01Z`, 1),
		"other zone":          strings.Replace(text, `00:01.000000Z`, `00:01.000000+00:00`, 1),
		"null list":           strings.Replace(text, text[strings.Index(text, `"commitments":`):], `"commitments":null}`, 1),
		"upper-case hmac":     strings.Replace(text, `"hmac":"`, `"hmac":"A`, 1),
		"short hmac":          strings.Replace(text, `"hmac":"`, `"hmac":"00","x":"`, 1),
		"unknown act":         strings.Replace(text, `order.placed`, `order.forged`, 1),
		"extra member within": strings.Replace(text, `"name":"order",`, `"name":"order","note":"x",`, 1),
	} {
		if _, err := ParseBody([]byte(changed)); err == nil || changed == text {
			t.Errorf("%s: accepted: %s", name, changed)
		}
	}
}

func FuzzParseBody(f *testing.F) {
	r, err := seal(told(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Body)
	f.Add([]byte(`{"id":"evt_a","at":"2026-03-01T12:00:00.123456Z","act":"init","by":"system","public":[],"commitments":[]}`))
	f.Add([]byte(`{"id":"evt_a","at":"2026-03-01T12:00:00.123456Z","act":"init","by":"\u0000","public":[],"commitments":[]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBody(in)
		if err != nil {
			return
		}
		if out := b.encode(); !bytes.Equal(out, in) {
			t.Errorf("%q is read but written as %q", in, out)
		}
	})
}

// TestActs holds that the list and the constants are the same, by reading the
// source: an act that is a constant but not in the list could never be told.
func TestActs(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "acts.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var constants []string
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v, err := strconv.Unquote(s.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			constants = append(constants, v)
		}
	}
	if !slices.Equal(constants, Acts()) {
		t.Errorf("constants = %q\nActs() = %q", constants, Acts())
	}
	slices.Sort(constants)
	if len(slices.Compact(constants)) != len(Acts()) {
		t.Error("an act is there twice")
	}
}

func TestHead(t *testing.T) {
	h := Head{Number: 12, Hash: LeafHash(nil), At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	const want = "sigill-head-v1 12 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d 2026-03-01T12:00:00Z"
	if h.String() != want {
		t.Errorf("String = %s", h)
	}
	got, err := ParseHead(want)
	if err != nil || got != h {
		t.Errorf("ParseHead = %v, %v", got, err)
	}
	heads, err := ParseHeads([]byte(want + "\n\n" + want + "\r\n"))
	if err != nil || len(heads) != 2 || heads[1] != h {
		t.Errorf("ParseHeads = %v, %v", heads, err)
	}
	for _, bad := range []string{"", want + " ", want + "\n", " " + want, strings.ToUpper(want),
		strings.Replace(want, " 12 ", " 012 ", 1), strings.Replace(want, " 12 ", " -1 ", 1), strings.Replace(want, " 12 ", " 0 ", 1),
		strings.Replace(want, "01d ", "01 ", 1), strings.Replace(want, "00Z", "00+00:00", 1), strings.Replace(want, "00Z", "00.5Z", 1),
		strings.Replace(want, "v1", "v2", 1)} {
		if h, err := ParseHead(bad); err == nil {
			t.Errorf("ParseHead(%q) = %v", bad, h)
		}
		if _, err := ParseHeads([]byte(want + "\nx" + bad)); err == nil {
			t.Errorf("ParseHeads skipped %q", bad)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add(Head{Number: 1, Hash: LeafHash(nil), At: time.Unix(0, 0)}.String())
	f.Fuzz(func(t *testing.T, line string) {
		if h, err := ParseHead(line); err == nil && h.String() != line {
			t.Errorf("%q is read but written as %q", line, h)
		}
	})
}

func TestClip(t *testing.T) {
	long := strings.Repeat("å", 150)
	for in, want := range map[string]string{
		"":                             "",
		"ord_1":                        "ord_1",
		"a\xffb":                       "a\uFFFDb",
		strings.Repeat("a", 200):       strings.Repeat("a", 200),
		strings.Repeat("a", 201):       strings.Repeat("a", 197) + "…",
		long:                           strings.Repeat("å", 98) + "…",
		strings.Repeat("\xff\n", 5000): strings.Repeat("\uFFFD\n", 49) + "…",
	} {
		got := Clip(in)
		if got != want {
			t.Errorf("Clip(%.20q…) = %q, want %q", in, got, want)
		}
		e := told(1)
		e.Public[0].Value = got
		if _, err := seal(e); err != nil {
			t.Errorf("a clipped value is refused: %v", err)
		}
	}
}
