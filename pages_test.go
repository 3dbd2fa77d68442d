package driftd_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/wording"
)

// markdown returns every page of the repository, history included.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	out := pages(t)
	for _, pattern := range []string{"*.md", "docs/decisions/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d pages, %v", pattern, len(files), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out[f] = string(text)
		}
	}
	return out
}

var (
	link     = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} (.*)$`)
	unlinked = regexp.MustCompile("[^a-z0-9 _-]")
	fenced   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors returns what a link may name behind # in a page, as GitHub makes it of
// its headings.
func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// TestLinksInThePages: what a page points at is there, the heading too.
func TestLinksInThePages(t *testing.T) {
	all := markdown(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s points at %s: %v", page, m[1], err)
			} else if m[2] != "" && !slices.Contains(anchors(all[target]), m[2][1:]) {
				t.Errorf("%s points at %s%s, and %s has no such heading", page, m[1], m[2], target)
			}
		}
	}
}

var mention = regexp.MustCompile(`\b(docs/[a-z0-9/_-]+\.md)(#[a-z0-9-]+)?`)

// TestPagesThatAreNamedExist: code, configuration, rules and dashboards send people
// to pages as well.
func TestPagesThatAreNamedExist(t *testing.T) {
	all, found := markdown(t), 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".yaml", ".yml", ".json", ".html", ".md", ".service"}, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range mention.FindAllStringSubmatch(string(text), -1) {
			found++
			if page, ok := all[m[1]]; !ok {
				t.Errorf("%s names %s, which does not exist", path, m[1])
			} else if m[2] != "" && !slices.Contains(anchors(page), m[2][1:]) {
				t.Errorf("%s names %s%s, and there is no such heading", path, m[1], m[2])
			}
		}
		return err
	})
	if err != nil || found < 50 {
		t.Errorf("%d pages named, %v", found, err)
	}
}

// A schema is the part of a JSON schema that tells keys.
type schema struct {
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties"`
	Ref                  string            `json:"$ref"`
	Defs                 map[string]schema `json:"$defs"`
}

// has tells whether a path of keys leads somewhere. Behind a map or a list its
// elements' keys are meant; behind a value without keys of its own nothing is.
func (s schema) has(root schema, path []string) bool {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		s = root.Defs[name]
	}
	if len(path) == 0 {
		return true
	}
	if next, ok := s.Properties[path[0]]; ok {
		return next.has(root, path[1:])
	}
	if s.Items != nil {
		return s.Items.has(root, path)
	}
	var element schema
	if json.Unmarshal(s.AdditionalProperties, &element) == nil && len(element.Properties) > 0 {
		return element.has(root, path) || element.has(root, path[1:])
	}
	return false
}

// setting finds what is written as a path of keys: `windows.lateness`, `http.reload: true`.
var setting = regexp.MustCompile("`([a-z_]+(?:\\[\\])?(?:\\.[a-z_]+(?:\\[\\])?)+)(?::[^`]*)?`")

// TestSettingsInThePagesExist: a key that is written out can be set.
func TestSettingsInThePagesExist(t *testing.T) {
	var root schema
	if err := json.Unmarshal(config.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	found := 0
	for page, text := range pages(t) {
		for _, m := range setting.FindAllStringSubmatch(text, -1) {
			path := strings.Split(strings.ReplaceAll(m[1], "[]", ""), ".")
			if _, section := root.Properties[path[0]]; !section || strings.HasSuffix(path[len(path)-1], "yaml") {
				continue
			}
			found++
			if !root.has(root, path) {
				t.Errorf("%s names the setting %s, which does not exist", page, m[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d settings found in the pages", found)
	}
}

var httpPath = regexp.MustCompile("(?:http://127\\.0\\.0\\.1:8480|`(?:[A-Z]+ )?)(/(?:-|api|ingest|models|alerts|incidents|ledger|v1)/[^`\\s'?*…]*|/metrics|/status|/baselines)")

// TestPathsInThePagesExist: what can be asked for over HTTP, or what it begins with,
// is in the description of the API.
func TestPathsInThePagesExist(t *testing.T) {
	var description struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	text, err := os.ReadFile("pkg/api/testdata/openapi.json") // a test of that package keeps it
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &description); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[^}]*\}`)
	var known []string
	for path := range description.Paths {
		known = append(known, parameter.ReplaceAllString(path, "{}"))
	}
	found := 0
	for page, text := range pages(t) {
		for _, m := range httpPath.FindAllStringSubmatch(text, -1) {
			for _, path := range alternatives(strings.TrimRight(m[1], "/.,)")) {
				found++
				path = parameter.ReplaceAllString(path, "{}")
				if !slices.ContainsFunc(known, func(k string) bool { return k == path || strings.HasPrefix(k, path+"/") }) {
					t.Errorf("%s names %s, which driftd does not serve", page, path)
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d paths found in the pages", found)
	}
}

// alternatives spells out /a/{b,c} as /a/b and /a/c.
func alternatives(path string) []string {
	before, rest, ok := strings.Cut(path, "{")
	list, after, closed := strings.Cut(rest, "}")
	if !ok || !closed || !strings.Contains(list, ",") {
		return []string{path}
	}
	var out []string
	for one := range strings.SplitSeq(list, ",") {
		out = append(out, before+one+after)
	}
	return out
}

// TestListsInThePagesAreWhole: what is told as the list of something is all of it.
func TestListsInThePagesAreWhole(t *testing.T) {
	all := pages(t)
	var ofFeature, ofModel []string
	for _, name := range alert.Variables() {
		r, err := alert.Compile(alert.Spec{Name: "A", Window: time.Hour, Expr: name + " > 0"})
		if err != nil {
			t.Fatal(err)
		}
		if r.Feature() {
			ofFeature = append(ofFeature, name)
		} else {
			ofModel = append(ofModel, name)
		}
	}
	for _, names := range [][]string{ofFeature, ofModel} {
		if line := "`" + strings.Join(names, " ") + "`"; !strings.Contains(all["docs/rules.md"], line) {
			t.Errorf("docs/rules.md does not list the variables %s", line)
		}
	}
	for _, reason := range event.Reasons() {
		if !strings.Contains(all["docs/connect.md"], "`"+string(reason)+"`") {
			t.Errorf("docs/connect.md does not explain the reason %s", reason)
		}
	}
	var root schema
	if err := json.Unmarshal(config.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	for section := range root.Properties {
		if !regexp.MustCompile("(?m)^\\|.*`" + section + "`.*\\|.*\\|$").MatchString(all["README.md"]) {
			t.Errorf("README.md does not say what the section %s is for", section)
		}
	}
	for field := range reflect.TypeFor[wording.Data]().Fields() {
		if !strings.Contains(all["docs/receivers.md"], "`."+field.Name+"`") {
			t.Errorf("docs/receivers.md does not say what the field .%s of a template is", field.Name)
		}
	}
	for role := api.IngestOnly; role <= api.Admin; role++ {
		if !strings.Contains(all["docs/access.md"], "| `"+role.String()+"` |") {
			t.Errorf("docs/access.md does not say what the role %s may", role)
		}
	}
}

// TestWhatTakesARestartIsSaid: the settings that a reload refuses to change are
// listed, all of them.
func TestWhatTakesARestartIsSaid(t *testing.T) {
	_, list, _ := strings.Cut(pages(t)["docs/install.md"], "takes a restart (")
	list, _, ok := strings.Cut(list, ")")
	said := strings.Split(strings.ReplaceAll(strings.ReplaceAll(list, "\n", " "), "`", ""), ", ")
	var are []string
	var visit func(reflect.Type, string)
	visit = func(of reflect.Type, path string) {
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case strings.Contains(f.Tag.Get("config"), "restart"):
				are = append(are, path+name)
			case f.Type.Kind() == reflect.Struct:
				visit(f.Type, path+name+".")
			}
		}
	}
	visit(reflect.TypeFor[config.Config](), "")
	slices.Sort(are)
	if slices.Sort(said); !ok || !slices.Equal(said, are) {
		t.Errorf("docs/install.md says that\n%v\ntake a restart, and\n%v\ndo", said, are)
	}
	text, err := os.ReadFile("configs/driftd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ = strings.Cut(string(text), "What is under ")
	list, _, _ = strings.Cut(list, " take a restart")
	said = strings.FieldsFunc(strings.ReplaceAll(list, " and ", ", "), func(r rune) bool { return strings.ContainsRune(", #\n", r) })
	said = slices.DeleteFunc(said, func(word string) bool { return word == "and" })
	if slices.Sort(said); !slices.Equal(said, are) {
		t.Errorf("configs/driftd.yaml says that\n%v\ntake a restart, and\n%v\ndo", said, are)
	}
}

var (
	held    = regexp.MustCompile("`((?:pkg|cmd)/[a-z/]+)`|\\b(?:([a-z]+)\\.)?((?:Test|Fuzz)[A-Z]\\w+)")
	goTest  = regexp.MustCompile(`go test [^` + "`" + `]*-(fuzz|run) (\w+) \./([a-z/]+)`)
	passage = regexp.MustCompile(`\n(?:\n|\* |\| )`)
)

// TestNamedTestsAreWhereTheyAreSaidToBe: a test that holds something is in the
// package that stands before it.
func TestNamedTestsAreWhereTheyAreSaidToBe(t *testing.T) {
	found := 0
	for _, page := range []string{"docs/invariants.md", "docs/gotchas.md"} {
		for _, text := range passage.Split(pages(t)[page], -1) {
			folder := ""
			for _, m := range held.FindAllStringSubmatch(text, -1) {
				if m[1] != "" {
					folder = m[1]
					continue
				}
				where := folder
				if m[2] != "" {
					where = "pkg/" + m[2]
				}
				if m[3] == "TestFloors" {
					where = "."
				}
				if found++; !slices.Contains(testsOf(t, where), m[3]) {
					t.Errorf("%s says that %s holds something in %q, where it is not", page, m[3], where)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d tests found", found)
	}
	for _, m := range goTest.FindAllStringSubmatch(markdown(t)["CONTRIBUTING.md"], -1) {
		names := slices.DeleteFunc(testsOf(t, m[3]), func(name string) bool { return !strings.Contains(name, m[2]) })
		if len(names) == 0 || m[1] == "fuzz" && len(names) > 1 { // go test fuzzes one
			t.Errorf("CONTRIBUTING.md runs -%s %s in %s, where that is %v", m[1], m[2], m[3], names)
		}
	}
}

func testsOf(t *testing.T, folder string) (out []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			out = append(out, m[1])
		}
	}
	return out
}
