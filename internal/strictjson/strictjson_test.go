package strictjson_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"sigill/internal/strictjson"
)

type inner struct {
	Name   string `json:"name"`
	Hidden string `json:"-"`
	Plain  int
}

type base struct {
	ID   string `json:"id"`
	Kind int    `json:"kind"`
}

type document struct {
	base
	Reason string           `json:"reason,omitempty"`
	Kind   string           `json:"kind"`
	Octets []byte           `json:"octets"`
	At     *time.Time       `json:"at"`
	One    inner            `json:"one"`
	Ptr    **inner          `json:"ptr"`
	List   []inner          `json:"list"`
	Pair   [2]*inner        `json:"pair"`
	Map    map[string]inner `json:"map"`
	Any    any              `json:"any"`
	Raw    json.RawMessage  `json:"raw"`
	secret string
}

func TestUnmarshal(t *testing.T) {
	for _, right := range []string{
		`{}`,
		` {"reason":"lost"} ` + "\n",
		`{"id":"1","kind":"a","octets":"AAEC","at":"2026-05-01T08:00:00Z","one":{"name":"n","Plain":1},"ptr":{"name":"p"},` +
			`"list":[{"name":"l"},{}],"pair":[{"name":"x"},null],"map":{"a":{"name":"m"},"A":{}},"any":{"x":[1,{"y":2,"Y":3}]},"raw":{"z":1}}`,
		`{"re\u0061son":"escaped"}`,
		`{"list":null,"ptr":null,"octets":null}`,
		`{"map":{"reason":{},"Reason":{}}}`,
	} {
		var got, want document
		if err := strictjson.Unmarshal([]byte(right), &got); err != nil {
			t.Errorf("%s: %v", right, err)
			continue
		}
		if err := json.Unmarshal([]byte(right), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v, %v", right, got, want, err)
		}
	}
}

// Each of these is taken by encoding/json, told to refuse unknown members or not.
func TestRefusesWhatIsReadInTwoWays(t *testing.T) {
	for name, wrong := range map[string]string{
		"twice":                     `{"reason":"lost","reason":"stolen"}`,
		"twice and in another case": `{"reason":"bored","Reason":"stolen","reason":"lost"}`,
		"another case":              `{"Reason":"lost"}`,
		"all capitals":              `{"REASON":"lost"}`,
		"folded letter":             `{"rea\u017fon":"lost"}`,
		"twice, one escaped":        `{"reason":"lost","re\u0061son":"stolen"}`,
		"name of the Go field":      `{"List":[]}`,
		"untagged in another case":  `{"one":{"plain":1}}`,
		"in a struct":               `{"one":{"name":"a","name":"b"}}`,
		"in a struct, case":         `{"one":{"Name":"a"}}`,
		"in a pointer":              `{"ptr":{"Name":"a"}}`,
		"in a list":                 `{"list":[{"name":"a"},{"NAME":"b"}]}`,
		"in a list, twice":          `{"list":[{"name":"a","name":"b"}]}`,
		"in an array":               `{"pair":[null,{"Name":"a"}]}`,
		"key of a map twice":        `{"map":{"a":{},"a":{}}}`,
		"value of a map":            `{"map":{"a":{"Name":"m"}}}`,
		"in an interface":           `{"any":{"x":1,"x":2}}`,
		"deep in an interface":      `{"any":[[{"x":1,"x":2}]]}`,
		"in raw JSON":               `{"raw":{"x":1,"x":2}}`,
		"embedded, case":            `{"ID":"1"}`,
		"unexported":                `{"secret":"s"}`,
		"left out":                  `{"one":{"Hidden":"h"}}`,
		"unknown":                   `{"more":1}`,
		"octets as an array":        `{"octets":[1,2]}`,
		"not UTF-8":                 "{\"reason\":\"\xff\"}",
		"names that are not UTF-8":  "{\"map\":{\"\xff\":{},\"\xfe\":{}}}",
		"too deep":                  `{"any":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"much too deep":             `{"any":` + strings.Repeat("[", 1<<20),
		"wrong type":                `{"reason":1}`,
		"a list":                    `[]`,
		"nothing":                   ``,
		"a space":                   ` `,
		"cut off":                   `{"reason":"lost"`,
		"not JSON":                  `reason=lost`,
		"two":                       `{} {}`,
		"rest":                      `{}]`,
		"rest that is no JSON":      `{}x`,
	} {
		var v document
		if err := strictjson.Unmarshal([]byte(wrong), &v); err == nil {
			t.Errorf("%s: read as %+v", name, v)
		} else if len(err.Error()) > 200 || strings.Contains(err.Error(), "EOF") {
			t.Errorf("%s: told as %q", name, err)
		}
	}
	_ = document{}.secret
}

// The name that is told is no longer than a line.
func TestLongNameIsCut(t *testing.T) {
	err := strictjson.Unmarshal([]byte(`{"`+strings.Repeat("å", 60000)+`":1}`), new(document))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("told in %d octets", len(err.Error()))
	}
}

// What is taken is taken by encoding/json with the same result, and is still
// taken, as the same, after that has written it.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"id":"1","reason":"lost","one":{"name":"n"},"list":[{"name":"l"}],"map":{"a":{}},"any":[1]}`))
	f.Add([]byte(`{"reason":"a","Reason":"b","reason":"c"}`))
	f.Add([]byte(`{"octets":"AA==","at":"2026-05-01T08:00:00Z","raw":{"x":[]},"pair":[{},{}],"ptr":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, same, again document
		if strictjson.Unmarshal(b, &v) != nil {
			return
		}
		if err := json.Unmarshal(b, &same); err != nil || !reflect.DeepEqual(v, same) {
			t.Fatalf("%+v; encoding/json: %+v, %v", v, same, err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			return // a year that RFC 3339 cannot tell
		}
		if err := strictjson.Unmarshal(text, &again); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}
