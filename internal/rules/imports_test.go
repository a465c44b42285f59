package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "sigill"

// pkg is what go list says of a package of this module.
type pkg struct {
	ImportPath  string
	Name        string
	Doc         string
	Dir         string
	GoFiles     []string
	CgoFiles    []string
	Imports     []string
	TestImports []string
	Deps        []string // transitive
}

// packages asks go list once for the whole module.
var packages = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Doc,Dir,GoFiles,CgoFiles,Imports,TestImports,Deps", module+"/...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(err.Error() + ": " + stderr.String())
	}
	var list []pkg
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
})

func load(t *testing.T) []pkg {
	t.Helper()
	list, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(list) < 5 {
		t.Fatalf("go list shows only %d packages", len(list))
	}
	return list
}

// short takes the module's name off an import path: "sigill/ca" is "ca".
func short(path string) string { return strings.TrimPrefix(path, module+"/") }

// domain reports whether a package holds decisions of the field, and so must be
// testable and readable without network, database and processes.
func domain(name string) bool {
	for _, root := range []string{"ca", "policy", "orders", "revocation", "internal/card", "internal/statement", "internal/audit",
		"internal/weakkeys"} {
		if name == root || strings.HasPrefix(name, root+"/") {
			return true
		}
	}
	return false
}

// unreachable is what a domain package must not depend on, even through others.
var unreachable = []string{"net/http", "database/sql", "os/exec", "html/template"}

func TestDomainReachesNoInputOutput(t *testing.T) {
	seen := 0
	for _, p := range load(t) {
		if !domain(short(p.ImportPath)) {
			continue
		}
		seen++
		for _, bad := range unreachable {
			if slices.Contains(p.Deps, bad) {
				t.Errorf("%s reaches %s; `go mod why` does not know, `go list -deps` does: "+
					"declare a small interface in it and let a package outside implement it", p.ImportPath, bad)
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d domain packages were found", seen)
	}
}

// allowed names for each package what it may import of this module, directly, in
// code that is not a test. A name stands for the packages below it too. Packages
// that are not listed are adapters: they may import what they like, as long as
// they are not imported by who is listed here.
var allowed = map[string][]string{
	// ca verifies the statements behind an order itself, so that nobody above it
	// can invent an approval; a statement is bytes and a signature, no decision.
	"ca":                    {"ca/signing", "internal/der", "internal/statement"},
	"ca/crl":                {"ca"},
	"ca/signing":            {},
	"policy":                {"ca", "internal/weakkeys"},
	"internal/weakkeys":     {"ca"},
	"revocation":            {"ca", "revocation/read", "revocation/logged"},
	"revocation/read":       {"ca"},
	"revocation/logged":     {"internal/checkpoint", "internal/der", "revocation/read"},
	"revocation/transcript": {"revocation"},
	"revocation/publish":    {"ca", "revocation", "internal/durable"},
	"revocation/status":     {"ca", "revocation"},
	"internal/audit":        {"internal/tiles"},
	"internal/tiles":        {},
	"internal/translog":     {"ca", "internal/audit", "internal/checkpoint", "internal/tiles"},
	"internal/der":          {},
	"internal/durable":      {},
	"internal/loopback":     {},
	"internal/wire":         {},
	"internal/card":         {"ca", "internal/der"},
	"internal/statement":    {"internal/der"},
	"internal/interop":      {}, // tests only
	"internal/strictjson":   {},
	"orders": {"ca", "policy", "revocation", "orders", "internal/audit", "internal/card", "internal/der",
		"internal/statement"},
	"internal/lanes": {},
	// A target is anywhere and signs nothing; who checks from outside must not see the
	// inside.
	"internal/target":  {"ca", "internal/durable", "internal/strictjson"},
	"internal/checker": {"ca", "internal/durable", "internal/strictjson"},
	"internal/peers":   {},
	"internal/mode":    {"ca", "policy", "internal/durable", "internal/strictjson"},
	"internal/lint":    {"ca", "internal/der"},
	// Who checks a log, and who witnesses one, must not see the inside of it.
	"internal/checkpoint": {},
	// Who may read is decided by who calls it; it reads rows and has no key.
	"internal/logapi": {"ca", "policy", "orders/issue", "internal/audit", "internal/checkpoint", "internal/der", "internal/store",
		"internal/tiles", "internal/translog", "internal/wire"},
	// Who judges a receipt has public keys, and sees nothing of who gave it.
	"internal/receipt": {"internal/audit", "internal/checkpoint", "internal/strictjson"},
	"internal/witness": {"internal/checkpoint", "internal/durable"},
	// Who audits must not believe what he audits: no database, no orders, no policy; of the
	// CA the words alone (TestAuditorMakesNothing).
	"internal/auditor": {"ca", "internal/audit", "internal/auditor", "internal/checkpoint", "internal/lint", "internal/profiles",
		"internal/statement", "internal/strictjson"},
	"internal/auditor/remote": {"internal/auditor", "internal/cardclient", "internal/cardhttp", "internal/token", "internal/wire", "policy"},
	"internal/auditor/auditortest": {"ca", "policy", "internal/audit", "internal/auditor", "internal/checkpoint", "internal/lint", "internal/profiles",
		"internal/statement"},
	// What is kept how long is said of acts; the rows are its callers'.
	"internal/retention": {"internal/audit"},
	"internal/clock":     {"internal/durable", "internal/strictjson", "policy"},
	// Which reason is graver is decided in one place, for the root's list too.
	"internal/keys": {"ca", "internal/der", "internal/durable", "internal/strictjson", "revocation"},
}

func permitted(list []string, name string) bool {
	return slices.ContainsFunc(list, func(a string) bool { return name == a || strings.HasPrefix(name, a+"/") })
}

// ruleFor returns the longest entry of allowed that covers a package.
func ruleFor(name string) (string, bool) {
	for ; name != ""; name = name[:max(strings.LastIndexByte(name, '/'), 0)] {
		if _, ok := allowed[name]; ok {
			return name, true
		}
	}
	return "", false
}

func TestDependenciesPointAtDecisions(t *testing.T) {
	for _, p := range load(t) {
		name := short(p.ImportPath)
		rule, ok := ruleFor(name)
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, module+"/") && !permitted(allowed[rule], short(imported)) {
				t.Errorf("%s imports %s; it may import only %v", name, short(imported), allowed[rule])
			}
		}
	}
}

// What is only for programs must not be imported, and the command line knows no
// other's.
func TestNobodyImportsPrograms(t *testing.T) {
	for _, p := range load(t) {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, module+"/cmd/") {
				t.Errorf("%s imports the program %s", p.ImportPath, imported)
			}
		}
	}
}

func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	for _, p := range load(t) {
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue // tests only
		}
		doc := strings.Join(strings.Fields(p.Doc), " ")
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "" // a program's comment begins with its name, in any form
		}
		if len(doc) < 30 || !strings.HasPrefix(doc, want) {
			t.Errorf("%s has no package comment that begins with %q", p.ImportPath, want)
		}
	}
}
