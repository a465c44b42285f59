package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// auditorTakes is what the auditor uses of package ca: words, and how keys and serials are
// named. Nothing that makes, lints or signs a certificate is among it: one mistake would
// make a certificate and excuse it.
var auditorTakes = []string{"Profile", "Profiles", "ProfileConfig", "ProfileName", "FieldRule", "Required", "Optional", "EndEntity", "MandateOrder",
	"Linter", "LintError", "Serial", "SerialOf", "ParseSerial", "FingerprintKey", "FingerprintOf"}

func TestAuditorMakesNothing(t *testing.T) {
	seen := 0
	for _, p := range load(t) {
		name := short(p.ImportPath)
		if name != "internal/auditor" && !strings.HasPrefix(name, "internal/auditor/") || strings.HasSuffix(name, "test") {
			continue
		}
		for _, file := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "ca" && x.Obj == nil {
					seen++
					if !slices.Contains(auditorTakes, s.Sel.Name) {
						t.Errorf("%s/%s uses ca.%s: an auditor judges certificates by other means than they are made by", name, file, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
	if seen < 10 {
		t.Errorf("only %d uses of package ca were found: the test looks at the wrong files", seen)
	}
}
