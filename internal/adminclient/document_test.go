package adminclient

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// routes are the patterns in the source of the API.
var routes = regexp.MustCompile(`"((?:GET|POST|PUT|PATCH|DELETE) /[^" ]*)"`)

// described are the headings of docs/API.md that are routes.
var described = regexp.MustCompile("(?m)^### `([A-Z]+ /[^`]*)`$")

func TestEveryRouteIsDescribed(t *testing.T) {
	source, err := os.ReadFile("../api/api.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	in, out := matches(routes, source), matches(described, text)
	if len(in) < 20 {
		t.Fatalf("only %d routes were found in the source", len(in))
	}
	for _, r := range in {
		if !slices.Contains(out, r) {
			t.Errorf("%s is not described in docs/API.md", r)
		}
	}
	for i, r := range out {
		if !slices.Contains(in, r) {
			t.Errorf("docs/API.md describes %s, which is no route", r)
		}
		if slices.Contains(out[:i], r) {
			t.Errorf("docs/API.md describes %s twice", r)
		}
	}
}

func matches(re *regexp.Regexp, b []byte) []string {
	var list []string
	for _, m := range re.FindAllSubmatch(b, -1) {
		list = append(list, string(m[1]))
	}
	return list
}

// rule is the form of a rule's name; names of acts and files look like it.
var rule = regexp.MustCompile("`((?:login|role|organisation|ceremony|statement|order|card|download|intent|key|profile|client|request|revoke|loa)\\.[a-z.-]+)`")

func TestRulesNamedHereAreOfThePolicy(t *testing.T) {
	text, err := os.ReadFile("../../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := os.ReadFile("../../docs/POLICY.md")
	if err != nil {
		t.Fatal(err)
	}
	acts := []string{"ceremony.found", "card.delivery", "card.handout", "card.arm", "order.place", "order.approve",
		"organisation.create", "organisation.signing", "role.grant", "key.block"}
	found := matches(rule, text)
	if len(found) < 30 {
		t.Fatalf("only %d rules were found", len(found))
	}
	for _, r := range found {
		if !slices.Contains(acts, r) && !strings.Contains(string(policy), "\n### "+r+"\n") {
			t.Errorf("docs/API.md names %s, which is no rule of docs/POLICY.md", r)
		}
	}
}
