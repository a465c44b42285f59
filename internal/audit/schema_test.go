package audit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// complete returns an event with every field of its act.
func complete(act string) Event {
	s := shapes[act]
	e := Event{ID: EventID(act, "1"), At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Act: act, By: "system"}
	for _, name := range slices.Concat(s.must, s.may) {
		value := "x"
		if hashes[name] {
			value = strings.Repeat("0a", 32)
		}
		if act == RequestRefused || act == LoginRefused {
			value = formed(name, value)
		}
		e.Public = append(e.Public, Field{name, value})
	}
	for _, name := range slices.Concat(s.private, s.perhaps) {
		e.Personal = append(e.Personal, Field{Name: name})
	}
	return e
}

// formed returns a value of the form of a refusal's field.
func formed(name, value string) string {
	if prefix, ok := asked[name]; ok {
		return prefix + strings.Repeat("0z", 12)
	}
	switch name {
	case "card", "abandoning", "blocking":
		return "9752000000000000017"
	case "serial":
		return strings.Repeat("0f", 16)
	}
	return value
}

// What somebody sent in the place of an identifier is in no public field of a refusal,
// whichever field it is.
func TestRefusalsHoldNoPersonalNumber(t *testing.T) {
	for _, act := range []string{RequestRefused, LoginRefused} {
		for _, name := range slices.Concat(shapes[act].must, shapes[act].may) {
			if name == "rule" || name == "bureau" { // ours
				continue
			}
			for _, value := range []string{"197001019990", "per_197001019990", "SE2321000016-1003", "19700101-9990", "Åsa Öberg", "per_" + strings.Repeat("Å", 12), "9752197001019990"} {
				e := complete(act)
				i := slices.IndexFunc(e.Public, func(f Field) bool { return f.Name == name })
				e.Public[i].Value = value
				if _, err := Seal(e); err == nil {
					t.Errorf("%s was sealed with %s=%s", act, name, value)
				}
			}
		}
	}
}

// TestShapes: each act has its table, and what is not as the table says is not sealed.
func TestShapes(t *testing.T) {
	if acts := slices.Sorted(slices.Values(Acts())); !slices.Equal(acts, slices.Sorted(maps.Keys(shapes))) {
		t.Fatalf("tables are for %q, acts are %q", slices.Sorted(maps.Keys(shapes)), acts)
	}
	for _, act := range Acts() {
		s := shapes[act]
		if len(s.must) == 0 || len(s.must) > 32 {
			t.Errorf("%s has %d fields that must be there", act, len(s.must))
		}
		all := slices.Concat(s.must, s.may, s.private, s.perhaps)
		if slices.Sort(all); len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("%s has a field twice: %q", act, all)
		}
		if _, err := Seal(complete(act)); err != nil {
			t.Errorf("%s with all of its fields: %v", act, err)
			continue
		}
		for name, e := range spoilt(act) {
			if _, err := Seal(e); err == nil {
				t.Errorf("%s: %s: sealed", act, name)
			}
		}
	}
	if _, err := Seal(complete("no.act")); err == nil {
		t.Error("an act that is not in the list was sealed")
	}
}

// spoilt are events of an act that are not as its table says.
func spoilt(act string) map[string]Event {
	s := shapes[act]
	without := func(fields []Field, name string) []Field {
		return slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return f.Name == name })
	}
	out := map[string]Event{}
	for _, name := range s.must {
		e := complete(act)
		e.Public = without(e.Public, name)
		out["without "+name] = e
		empty := complete(act)
		empty.Public = append(without(empty.Public, name), Field{Name: name})
		out["with an empty "+name] = empty
		told := complete(act)
		told.Public, told.Personal = without(told.Public, name), append(told.Personal, Field{name, "x"})
		out["with a personal "+name] = told
		if hashes[name] {
			e := complete(act)
			e.Public = append(without(e.Public, name), Field{name, strings.Repeat("0A", 32)})
			out["with "+name+" in another form"] = e
		}
	}
	for _, name := range slices.Concat(s.private, s.perhaps) {
		e := complete(act)
		e.Public, e.Personal = append(e.Public, Field{name, "Åsa"}), without(e.Personal, name)
		out["with a public "+name] = e
	}
	for _, name := range s.private {
		e := complete(act)
		e.Personal = without(e.Personal, name)
		out["without "+name] = e
	}
	e := complete(act)
	e.Public = append(e.Public, Field{"unforeseen", "x"})
	out["with a field more"] = e
	e = complete(act)
	e.Personal = append(e.Personal, Field{"unforeseen", "x"})
	out["with a personal field more"] = e
	return out
}

// TestFieldsInTheSource: every name that the program gives to a field is one of an act.
// A test that does not reach a call would leave it to be refused when it is made.
func TestFieldsInTheSource(t *testing.T) {
	known := map[string]bool{}
	for _, s := range shapes {
		for _, name := range slices.Concat(s.must, s.may, s.private, s.perhaps) {
			known[name] = true
		}
	}
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, dir := range []string{"orders", "internal/app", "internal/retention", "internal/reconcile"} {
			if strings.HasPrefix(filepath.ToSlash(path), "../../"+dir+"/") {
				found += checkFields(t, path, known)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 100 {
		t.Errorf("only %d fields were found", found)
	}
}

// checkFields looks at F("name", …), issue.F("name", …) and {Name: "name", …} with a
// Value, and returns how many there are.
func checkFields(t *testing.T, path string, known map[string]bool) int {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	check := func(e ast.Expr) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return // built from parts
		}
		name, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if n++; !known[name] {
			t.Errorf("%s: field %q is of no act", path, name)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.CallExpr:
			if len(x.Args) == 2 && calls(x.Fun, "F") {
				check(x.Args[0])
			}
		case *ast.CompositeLit:
			if name := fieldName(x); name != nil {
				check(name)
			}
		}
		return true
	})
	return n
}

func calls(fun ast.Expr, name string) bool {
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name == name
	case *ast.SelectorExpr:
		return f.Sel.Name == name
	}
	return false
}

// fieldName returns the name in {Name: …, Value: …}; nil: it is something else.
func fieldName(x *ast.CompositeLit) (name ast.Expr) {
	if len(x.Elts) != 2 {
		return nil
	}
	value := false
	for _, e := range x.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return nil
		}
		switch key, _ := kv.Key.(*ast.Ident); {
		case key == nil:
			return nil
		case key.Name == "Name":
			name = kv.Value
		case key.Name == "Value":
			value = true
		}
	}
	if !value {
		return nil
	}
	return name
}

// TestEventID fixes how names are made of subjects, by an example computed elsewhere:
// printf 'card.blocked\0009752000000000000017' | sha256sum, as base32 in lower case.
func TestEventID(t *testing.T) {
	if got := EventID(CardBlocked, "9752000000000000017"); got != "evt_nvyywm57qx3jw3evgcqjhguka6" {
		t.Errorf("EventID = %s", got)
	}
	seen := map[string]bool{}
	for _, id := range []string{EventID("a"), EventID("a", ""), EventID("a", "b"), EventID("b", "a"), EventID("a", "b", "c"), EventID("a", "bc"), EventID("ab", "c")} {
		if seen[id] || len(id) != 30 || !isName(id) {
			t.Errorf("%s is the name of two acts, or none", id)
		}
		seen[id] = true
	}
}

// TestBodyFitsAnEntry: what an entry bundle cannot hold is not sealed.
func TestBodyFitsAnEntry(t *testing.T) {
	e := complete(ConfigurationLoaded)
	fill := func(c string, n int) {
		for i := range e.Public {
			if strings.HasPrefix(e.Public[i].Name, "doc-") {
				e.Public[i].Value = strings.Repeat(c, n)
			}
		}
	}
	fill("a", MaxValue)
	r, err := Seal(e)
	if err != nil || len(r.Body) > MaxBody {
		t.Fatalf("%d octets, %v", len(r.Body), err)
	}
	if _, err := ParseBody(r.Body); err != nil {
		t.Error(err)
	}
	fill("\n", MaxValue) // two octets each
	if _, err := Seal(e); err == nil {
		t.Error("a body that no entry bundle holds was sealed")
	}
}
