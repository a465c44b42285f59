package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"sigill/internal/strictjson"
	"sigill/internal/wire"
)

// documents are what a card sends and what it is sent.
func documents() []func() any {
	return []func() any{
		func() any { return new(wire.Begin) }, func() any { return new(wire.Submit) }, func() any { return new(wire.Confirm) },
		func() any { return new(wire.Removed) }, func() any { return new(wire.Block) }, func() any { return new(wire.Download) },
		func() any { return new(wire.Item) }, func() any { return new(wire.Me) }, func() any { return new(wire.Problem) },
		func() any { return new(wire.Receipt) }, func() any { return new(wire.Done) }, func() any { return new(wire.PersonEnded) },
	}
}

// FuzzCardDocument: a document that is understood is written again as one that
// means the same, so that what one program passes on is what the other reads.
func FuzzCardDocument(f *testing.F) {
	for i, text := range []string{
		`{"order":"ord_1"}`, `{"csr":"MAA="}`, `{"planHash":"00","readBack":{"authentication":"11"}}`, `{"fingerprints":["11",""]}`, `{"reason":"lost"}`,
		`{"id":"dl_1","order":"ord_1","state":"planned","plan":"e30=","planHash":"00","items":[{"slot":"authentication","state":"planned","challenge":"AA==","challengeExpires":"2031-01-01T00:00:00Z"}],"remove":[]}`,
		`{"slot":"signing","state":"signed","certificate":"MAA=","issuer":"MAA="}`,
		`{"card":"9752000000000000017","name":"Åsa","loa":3,"eids":[],"offers":[],"cardExpires":"2031-01-01T00:00:00Z","minClient":"0.1"}`,
		`{"type":"urn:sigill:problem:refused","title":"t","status":403,"rule":"key.proof"}`,
		`{"act":"{}","proof":"c2sp.org/tlog-proof@v1\n"}`, `{"receiptLater":{"event":"evt_1"}}`,
		`{"receipt":{"act":"{}","proof":""},"certificates":[{"serial":"00","receiptLater":{"event":"evt_1"}}]}`,
	} {
		f.Add(uint8(i), []byte(text))
	}
	f.Add(uint8(0), []byte(`{"order":"\ud800"}`))
	f.Add(uint8(2), []byte(`{"readBack":{"":"","authentication":null}}`))
	f.Add(uint8(6), []byte(`{"challengeExpires":"9999-12-31T23:59:59.999999999+23:59"}`))
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		kinds := documents()
		document := kinds[int(which)%len(kinds)]
		first, second := document(), document()
		if strictjson.Unmarshal(text, first) != nil {
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", text, err)
		}
		if err := strictjson.Unmarshal(again, second); err != nil {
			t.Fatalf("%q is written as %q, which is not understood: %v", text, again, err)
		}
		twice, err := json.Marshal(second)
		if err != nil || string(twice) != string(again) {
			t.Errorf("%q, then %q: %v", again, twice, err)
		}
		if p, ok := first.(*wire.Problem); ok && !reflect.DeepEqual(p, second) {
			t.Errorf("problem %+v, then %+v", p, second)
		}
	})
}
