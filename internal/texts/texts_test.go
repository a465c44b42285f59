package texts

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func load(t *testing.T) *Catalogue {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rules reads the constants of type Rule out of the source of package policy.
func rules(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../../policy/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Rule" {
				return true
			}
			for _, value := range v.Values {
				rule, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				if found[rule] {
					t.Errorf("rule %s stands in policy twice", rule)
				}
				found[rule] = true
			}
			return true
		})
	}
	if len(found) < 50 {
		t.Fatalf("found only %d rules: %v", len(found), found)
	}
	return found
}

// TestEveryRuleHasTexts holds both ways: a rule without a text would be told as
// an error inside the service, a text without a rule is about nothing.
func TestEveryRuleHasTexts(t *testing.T) {
	c := load(t)
	all := rules(t)
	for rule := range all {
		if !c.Has(rule) {
			t.Errorf("rule %s has no text", rule)
		}
	}
	for _, key := range c.Keys() {
		// Problem types have no point in their names, rules always have.
		if strings.Contains(key, ".") && !all[key] {
			t.Errorf("%s is no rule of package policy", key)
		}
	}
	for rule := range all {
		if !strings.Contains(rule, ".") {
			t.Errorf("rule %s has no point and could be a problem type", rule)
		}
	}
}

// TestEveryProblemHasTexts reads the problem types out of the source of package
// api, where they are made: named(http.StatusX, "key").
func TestEveryProblemHasTexts(t *testing.T) {
	source, err := os.ReadFile("../api/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:named\(http\.\w+|Texts\.\w+\(lang), "([a-z-]+)"\)`).FindAllStringSubmatch(string(source), -1) {
		want[m[1]] = true
	}
	var got []string
	for _, key := range load(t).Keys() {
		if !strings.Contains(key, ".") {
			got = append(got, key)
		}
	}
	if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("problems with texts: %v\nproblems of the API: %v", got, slices.Sorted(maps.Keys(want)))
	}
}

func TestStyle(t *testing.T) {
	c := load(t)
	for _, key := range c.Keys() {
		for _, lang := range Languages() {
			title, next := c.Title(lang, key), c.Next(lang, key)
			if strings.HasSuffix(title, ".") || strings.TrimSpace(title) != title || len(title) > 100 {
				t.Errorf("%s %s: title %q", key, lang, title)
			}
			if !strings.HasSuffix(next, ".") || strings.TrimSpace(next) != next || len(next) > 260 {
				t.Errorf("%s %s: next %q", key, lang, next)
			}
		}
		if c.Title("sv", key) == c.Title("en", key) || c.Next("sv", key) == c.Next("en", key) {
			t.Errorf("%s is not translated", key)
		}
	}
}

func TestLookUp(t *testing.T) {
	c := load(t)
	if got := c.Title("en", "order.self"); got != "Nobody may order or approve for themselves" {
		t.Errorf("Title = %q", got)
	}
	if got := c.Next("sv", "order.self"); got != "Be en annan ID-administratör att göra det." {
		t.Errorf("Next = %q", got)
	}
	if c.Title("fi", "order.self") != c.Title("sv", "order.self") {
		t.Error("an unknown language is not told in Swedish")
	}
	if c.Title("en", "no.such.rule") != c.Title("en", "internal") || c.Has("no.such.rule") {
		t.Error("an unknown key is not told as an internal error")
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "internal:\n  sv: {title: a, next: b}\n  en: {title: c, next: d}\n"
	if _, err := parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty":            "",
		"no fallback":      strings.Replace(good, "internal", "other", 1),
		"no English":       strings.Replace(good, "  en: {title: c, next: d}\n", "", 1),
		"a third language": good + "  fi: {title: e, next: f}\n",
		"no title":         strings.Replace(good, "title: a, ", "", 1),
		"no next":          strings.Replace(good, ", next: d", "", 1),
		"unknown part":     strings.Replace(good, "next: d", "next: d, nxt: e", 1),
		"key twice":        good + good,
		"two documents":    good + "---\n" + good,
	} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLanguage(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                "sv",
		"sv":                              "sv",
		"en":                              "en",
		"en-GB,en;q=0.9,sv;q=0.8":         "en",
		"sv-SE,sv;q=0.9,en;q=0.8":         "sv",
		"fi-FI, en-US;q=0.5":              "en",
		"EN-us":                           "en",
		" en ; q=1":                       "en",
		"fi, de":                          "sv",
		"*":                               "sv",
		"english":                         "sv",
		",;,-,":                           "sv",
		strings.Repeat("de,", 200) + "en": "sv", // longer than is read
	} {
		if got := Language(accept); got != want {
			t.Errorf("Language(%q) = %s, want %s", accept, got, want)
		}
	}
}

func FuzzLanguage(f *testing.F) {
	f.Add("en-GB,en;q=0.9,sv;q=0.8")
	f.Fuzz(func(t *testing.T, accept string) {
		if got := Language(accept); !slices.Contains(Languages(), got) {
			t.Errorf("Language(%q) = %q", accept, got)
		}
	})
}
