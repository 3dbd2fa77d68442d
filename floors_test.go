// Package driftd_test keeps the layout: who may import whom, and what the core
// may not do. ARCHITECTURE.md quotes the map.
package driftd_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "driftd.dev/driftd/"

var (
	core  = []string{"event", "stats", "drift", "detect", "detect/trial", "alert", "incident", "backtest", "ruletest", "lifecycle", "ledger", "picture", "sim", "summary", "wording"}
	edges = []string{"store", "stream", "notify", "api", "dataset"}
)

// floors says who may import whom, exhaustively: a package that is missing here,
// or an import that is not listed, fails the test. Tests may import anything.
var floors = map[string][]string{
	// core: pure; no I/O, no goroutine, no clock, no chance
	"event":        {},
	"stats":        {},
	"ledger":       {},
	"drift":        {"event", "stats"},
	"sim":          {"event"},
	"detect":       {"drift", "stats"},
	"alert":        {"drift", "stats"},
	"incident":     {"alert", "ledger"},
	"picture":      {"ledger"},
	"wording":      {},
	"summary":      {"alert", "drift", "stats"},
	"backtest":     {"event", "drift", "alert", "detect"},
	"lifecycle":    {"drift", "alert", "stats"},
	"ruletest":     {"event", "stats", "drift", "alert", "incident", "ledger", "backtest", "lifecycle", "sim"},
	"detect/trial": {"detect", "drift", "stats"}, // null worlds, for tests and the bench
	// edges: one technology each, and none knows another
	"store":          core,
	"stream":         {"event"},
	"stream/publish": {"event"}, // for other people's services: nothing of the daemon
	"notify":         {"ledger", "picture", "wording"},
	"notify/fakes":   {"ledger"},
	"api":            core,
	"dataset":        {"event"},
	// shell
	"config":            slices.Concat(core, edges), // of edges only what it sets: see TestConfigSetsEdgesOnly
	"daemon":            slices.Concat(core, edges, []string{"config"}),
	"/cmd/driftd":       slices.Concat(core, edges, []string{"config", "daemon", "notify/fakes", "/configs", "/cmd/driftd/quiet"}),
	"/cmd/driftd/quiet": {}, // runs before every other package
	"/configs":          {}, // the documented defaults and the demo's, embedded
	"/":                 {}, // this test
}

// impure are packages whose mere import means I/O, time-keeping or sharing.
var impure = []string{
	"os", "net", "net/http", "io/fs", "sync", "sync/atomic", "context", "log", "log/slog", "math/rand", "crypto/rand",
	"github.com/rs/zerolog", "github.com/dgraph-io/badger/v4", "github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2/server",
}

// clocks are the functions of package time that read or wait for it.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// seeded are the names of math/rand/v2 that take their seed as an argument.
var seeded = []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"}

type listed struct {
	ImportPath, Dir, Name string
	Imports, GoFiles      []string
}

// nameOf returns a package's name in floors: "drift", or "/configs" outside pkg.
func nameOf(importPath string) (string, bool) {
	rest, ours := strings.CutPrefix(importPath+"/", module)
	rest = strings.TrimSuffix(rest, "/")
	if inner, ok := strings.CutPrefix(rest, "pkg/"); ok {
		return inner, ours
	}
	return "/" + rest, ours
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Name,Dir,Imports,GoFiles", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestFloors(t *testing.T) {
	gone := maps.Clone(floors)
	for _, p := range packages(t) {
		name, _ := nameOf(p.ImportPath)
		delete(gone, name)
		allowed, known := floors[name]
		if !known {
			t.Errorf("package %s has no floor: add it to floors and to ARCHITECTURE.md", p.ImportPath)
		}
		for _, path := range p.Imports {
			if dep, ours := nameOf(path); ours && !slices.Contains(allowed, dep) {
				t.Errorf("%s may not import %s", name, dep)
			}
		}
	}
	for name := range gone {
		t.Errorf("package %s has a floor and does not exist: take it out of floors and of ARCHITECTURE.md", name)
	}
}

func TestCoreIsPure(t *testing.T) {
	for _, p := range packages(t) {
		name, _ := nameOf(p.ImportPath)
		if !slices.Contains(core, name) {
			continue
		}
		for _, path := range p.Imports {
			if slices.Contains(impure, path) {
				t.Errorf("%s is core and may not import %s", name, path)
			}
		}
		eachFile(t, p, func(fset *token.FileSet, file *ast.File) {
			ast.Inspect(file, func(n ast.Node) bool {
				if _, ok := n.(*ast.GoStmt); ok {
					t.Errorf("%s: a goroutine in the core", fset.Position(n.Pos()))
				}
				return true
			})
			selectors(file, "time", func(at token.Pos, sel string) {
				if slices.Contains(clocks, sel) {
					t.Errorf("%s: time.%s in the core: take the time as an argument", fset.Position(at), sel)
				}
			})
			selectors(file, "math/rand/v2", func(at token.Pos, sel string) {
				if !slices.Contains(seeded, sel) {
					t.Errorf("%s: rand.%s has no seed: take one as an argument", fset.Position(at), sel)
				}
			})
		})
	}
}

// config may know of an edge how it is set, not what it does.
func TestConfigSetsEdgesOnly(t *testing.T) {
	setting := regexp.MustCompile(`Options$|^Retention$|^BodyMode$`)
	for _, p := range packages(t) {
		if name, _ := nameOf(p.ImportPath); name != "config" {
			continue
		}
		eachFile(t, p, func(fset *token.FileSet, file *ast.File) {
			for _, edge := range edges {
				selectors(file, module+"pkg/"+edge, func(at token.Pos, sel string) {
					if !setting.MatchString(sel) {
						t.Errorf("%s: config uses %s.%s; it may only make options", fset.Position(at), edge, sel)
					}
				})
			}
		})
	}
}

func TestEachPackageHasOneComment(t *testing.T) {
	for _, p := range packages(t) {
		comments := 0
		eachFile(t, p, func(_ *token.FileSet, file *ast.File) {
			if file.Doc != nil {
				comments++
			}
		})
		if comments != 1 && len(p.GoFiles) > 0 {
			t.Errorf("%s has %d package comments, want one, in doc.go", p.ImportPath, comments)
		}
	}
}

func TestModuleReplacesNothing(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^\s*replace\b|^\s*exclude\b`).Match(text) {
		t.Error("go.mod replaces or excludes a module: go install would not build what we test")
	}
}

// The map of the documentation is the map of the test.
func TestArchitectureQuotesTheFloors(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, allowed := range floors {
		if strings.HasPrefix(name, "/") || slices.Contains([]string{"store", "api", "config", "daemon"}, name) || len(allowed) == 0 {
			continue
		}
		if line := name + " -> " + strings.Join(allowed, ", "); !strings.Contains(string(text), line) {
			t.Errorf("ARCHITECTURE.md does not say %q", line)
		}
	}
}

// A test that the documentation names must exist.
func TestDocumentedTestsExist(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"docs/invariants.md", "docs/gotchas.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(text), -1) {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}

// eachFile parses the package's files, tests aside.
func eachFile(t *testing.T, p listed, visit func(*token.FileSet, *ast.File)) {
	t.Helper()
	for _, f := range p.GoFiles {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		visit(fset, file)
	}
}

// selectors calls visit for each X.Sel where X is the import of path.
func selectors(file *ast.File, path string, visit func(at token.Pos, sel string)) {
	local := ""
	for _, i := range file.Imports {
		if strings.Trim(i.Path.Value, `"`) != path {
			continue
		}
		if local = filepath.Base(strings.TrimSuffix(path, "/v2")); i.Name != nil {
			local = i.Name.Name
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local && x.Obj == nil {
				visit(s.Pos(), s.Sel.Name)
			}
		}
		return true
	})
}
