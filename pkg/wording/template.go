package wording

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
	"unicode/utf8"
)

// Bounds of templates and of what they say, in bytes.
const (
	MostTitle = 256
	MostText  = 4 << 10

	mostSource = 4 << 10
	mostLoops  = 2    // inside of one another
	mostItems  = 20   // of a list that is looped over
	mostString = 1024 // of what a function makes
)

// lists are the fields that a loop may go over. All of them are short.
var lists = []string{"Cells", "Versions", "Segments", "Around", "Findings", "Alerts", "Links", "Labels", "Stats"}

// functions are those that a template may call. They make nothing long and none
// takes longer than what it is given.
var functions = template.FuncMap{
	"upper":   func(s string) string { return strings.ToUpper(cut(mostString, s)) },
	"lower":   func(s string) string { return strings.ToLower(cut(mostString, s)) },
	"cut":     func(n int, s string) string { return cut(max(0, min(n, mostString)), s) },
	"default": func(other, s string) string { return orElse(s, other) },
	"join":    func(sep string, list []string) string { return join(sep, list) },
	"date":    func(layout string, t time.Time) string { return cut(mostString, t.UTC().Format(cut(64, layout))) },
	"round":   func(digits int, x float64) string { return strconv.FormatFloat(x, 'f', max(0, min(digits, 9)), 64) },
}

// builtin are the functions of text/template that may be called. Those that print
// are missing: a loop of them could make anything long.
var builtin = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index"}

// A Template says something of a message.
type Template struct {
	parsed *template.Template
	limit  int
}

// Parse reads a template that says at most limit bytes; what is longer is cut. The
// error names the line.
func Parse(text string, limit int) (*Template, error) {
	if len(text) > mostSource {
		return nil, fmt.Errorf("the template has %d bytes, more than %d", len(text), mostSource)
	}
	t, err := template.New("template").Option("missingkey=zero").Funcs(functions).Parse(text)
	if err != nil {
		return nil, plain(err)
	}
	if n := len(t.Templates()); n > 1 {
		return nil, errors.New("define and block are not allowed: a template is one piece")
	}
	c := checker{tree: t.Tree}
	if t.Tree != nil {
		c.node(t.Tree.Root, 0)
	}
	if c.err != nil {
		return nil, c.err
	}
	out := &Template{t, limit}
	for _, d := range samples() {
		if _, err := out.Say(d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plain takes the package's name out of an error: "line 3: ...".
func plain(err error) error {
	text := strings.TrimPrefix(err.Error(), "template: ")
	if rest, ok := strings.CutPrefix(text, "template:"); ok {
		text = "line " + rest
	}
	return errors.New(text)
}

// Say executes the template. Lists longer than 20 are cut. The error is that of a
// template which does not fit the message, such as an index that is not there.
func (t *Template) Say(d Data) (string, error) {
	for _, list := range []*[]string{&d.Cells, &d.Versions, &d.Segments, &d.Around, &d.Findings} {
		*list = (*list)[:min(len(*list), mostItems)]
	}
	d.Alerts, d.Links = d.Alerts[:min(len(d.Alerts), mostItems)], d.Links[:min(len(d.Links), mostItems)]
	d.Labels, d.Stats = few(d.Labels), few(d.Stats)
	out := bounded{left: t.limit + utf8.UTFMax} // to see whether there is more than limit
	if err := t.parsed.Execute(&out, d); err != nil && !errors.Is(err, errFull) {
		return "", plain(err)
	}
	return cut(t.limit, strings.TrimSpace(out.text.String())), nil
}

// few keeps the first entries of a map by name.
func few[V any](m map[string]V) map[string]V {
	if len(m) <= mostItems {
		return m
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	out := make(map[string]V, mostItems)
	for _, name := range names[:mostItems] {
		out[name] = m[name]
	}
	return out
}

// bounded takes what there is room for, and then ends the execution.
type bounded struct {
	text strings.Builder
	left int
}

var errFull = errors.New("there is no room for more")

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.text.Write(p[:n])
	if b.left -= n; n < len(p) {
		return n, errFull
	}
	return n, nil
}

// cut keeps n bytes of a text, whole characters, with a mark where it was longer.
func cut(n int, s string) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	end := max(0, n-len(mark))
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	if n < len(mark) {
		return s[:end]
	}
	return s[:end] + mark
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func join(sep string, list []string) string {
	return cut(mostString, strings.Join(list[:min(len(list), mostItems)], cut(64, sep)))
}

// A checker looks for what a template must not do. It keeps the first fault.
type checker struct {
	tree *parse.Tree
	err  error
}

func (c *checker) fault(n parse.Node, format string, args ...any) {
	if c.err == nil {
		where, _ := c.tree.ErrorContext(n)
		c.err = plain(fmt.Errorf("template: %s: %s", where, fmt.Sprintf(format, args...)))
	}
}

// node checks a node inside of so many loops.
func (c *checker) node(n parse.Node, loops int) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				c.node(child, loops)
			}
		}
	case *parse.ActionNode:
		c.pipe(n.Pipe)
	case *parse.IfNode:
		c.branch(&n.BranchNode, loops)
	case *parse.WithNode:
		c.branch(&n.BranchNode, loops)
	case *parse.RangeNode:
		if loops++; loops > mostLoops {
			c.fault(n, "more than %d loops inside of one another", mostLoops)
		}
		if !overList(n.Pipe) {
			c.fault(n, "range goes over one of .%s", strings.Join(lists, ", ."))
		}
		c.branch(&n.BranchNode, loops)
	case *parse.TemplateNode:
		c.fault(n, "template is not allowed")
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
	default:
		c.fault(n, "%s is not allowed", n)
	}
}

func (c *checker) branch(n *parse.BranchNode, loops int) {
	c.pipe(n.Pipe)
	c.node(n.List, loops)
	c.node(n.ElseList, loops)
}

// overList reports whether a loop goes over a list of Data and nothing else: over a
// number it could take for ever.
func overList(p *parse.PipeNode) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	var path []string
	switch n := p.Cmds[0].Args[0].(type) {
	case *parse.FieldNode:
		path = n.Ident
	case *parse.VariableNode:
		if len(n.Ident) > 1 {
			path = n.Ident[1:]
		}
	}
	return len(path) > 0 && slices.Contains(lists, path[len(path)-1])
}

func (c *checker) pipe(p *parse.PipeNode) {
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			c.operand(arg)
		}
	}
}

func (c *checker) operand(n parse.Node) {
	switch n := n.(type) {
	case *parse.PipeNode:
		c.pipe(n)
	case *parse.ChainNode:
		c.operand(n.Node)
	case *parse.IdentifierNode:
		if _, ours := functions[n.Ident]; !ours && !slices.Contains(builtin, n.Ident) {
			c.fault(n, "function %s is not allowed: there are %s", n.Ident, strings.Join(allowed(), ", "))
		}
	}
}

// allowed lists the functions that there are.
func allowed() []string {
	out := slices.Clone(builtin)
	for name := range functions {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
