package rules

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

// policyRules reads the constants of type Rule out of package policy, by value.
func policyRules(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "policy", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of package policy: %v", err)
	}
	rules := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.CONST {
				for _, spec := range gen.Specs {
					addRules(t, rules, spec.(*ast.ValueSpec))
				}
			}
		}
	}
	if len(rules) < 10 {
		t.Fatalf("only %d rules were found in package policy", len(rules))
	}
	return rules
}

func addRules(t *testing.T, rules map[string]string, spec *ast.ValueSpec) {
	t.Helper()
	if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Rule" {
		return
	}
	for i, name := range spec.Names {
		var value string
		if lit, ok := spec.Values[i].(*ast.BasicLit); ok {
			value, _ = strconv.Unquote(lit.Value)
		}
		if value == "" {
			t.Errorf("policy.%s is not a plain string", name.Name)
			continue
		}
		if other := rules[value]; other != "" {
			t.Errorf("policy.%s and policy.%s are both %q", other, name.Name, value)
		}
		rules[value] = name.Name
	}
}

// clause is a heading of docs/POLICY.md that is a rule's name: "### order.self",
// with or without backquotes, and text after it.
var clause = regexp.MustCompile("(?m)^#{2,6} +`?([a-z0-9]+(?:[.-][a-z0-9]+)*\\.[a-z0-9]+(?:[.-][a-z0-9]+)*)`?(?:[ :].*)?$")

// Every rule that a refusal can name is a clause of the policy, and every clause
// is a rule that something can refuse by.
func TestRulesAreClausesOfThePolicy(t *testing.T) {
	rules := policyRules(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "POLICY.md"))
	if err != nil {
		t.Fatal(err)
	}
	clauses := map[string]int{}
	for _, m := range clause.FindAllStringSubmatch(string(text), -1) {
		clauses[m[1]]++
	}
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		if clauses[rule] == 0 {
			t.Errorf("rule %s (policy.%s) has no heading in docs/POLICY.md", rule, rules[rule])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(clauses)) {
		if rules[name] == "" {
			t.Errorf("docs/POLICY.md has a clause %s that no rule names", name)
		}
		if clauses[name] > 1 {
			t.Errorf("docs/POLICY.md has the clause %s %d times", name, clauses[name])
		}
	}
}
