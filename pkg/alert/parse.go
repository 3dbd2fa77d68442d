package alert

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// Bounds of one expression. They keep the work of a rule and the length of its
// reason small whatever a configuration says.
const (
	maxExprBytes = 1024
	maxExprNodes = 256
	maxExprDepth = 100
)

// functions are the only ones a condition may call: pure, of numbers only, and
// spreading NaN, so that an undefined part makes its clause unknown.
var functions = map[string]struct {
	args int
	call func(x, y float64) float64
}{
	"abs": {1, func(x, _ float64) float64 { return math.Abs(x) }},
	"max": {2, math.Max},
	"min": {2, math.Min},
}

// A compiler turns one expression into a condition. Grammar and arithmetic are
// those of expr-lang; what a condition may say is decided here, by a list of
// what is allowed, so a new release of the language cannot widen it.
type compiler struct {
	source  string
	metrics []string // names that the caller declared
	faults  []*Fault // Rule and Field are filled in by the caller
}

// compileCondition returns the condition, or every fault found.
func compileCondition(source string, metrics []string) (*condition, []*Fault) {
	c := &compiler{source: source, metrics: metrics}
	node := c.parse()
	if node == nil {
		return nil, c.faults
	}
	root := c.clause(node, false, 0)
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	cond := &condition{root: root}
	cond.collect(root)
	return cond, nil
}

func (c *compiler) parse() ast.Node {
	switch {
	case strings.TrimSpace(c.source) == "":
		c.fault(0, "an expression is needed, for example \"psi_debiased > 0.1\"")
		return nil
	case len(c.source) > maxExprBytes:
		c.fault(0, "the expression has %d bytes; at most %d are allowed", len(c.source), maxExprBytes)
		return nil
	case !utf8.ValidString(c.source):
		c.fault(0, "the expression is not UTF-8 text")
		return nil
	}
	config := conf.CreateNew()
	config.MaxNodes = maxExprNodes
	config.DisableIfOperator = true
	for name := range config.Builtins {
		config.Disabled[name] = true
	}
	tree, err := parser.ParseWithConfig(c.source, config)
	if err == nil {
		return tree.Node
	}
	var where *file.Error
	if errors.As(err, &where) {
		c.fault(where.From, "%s", strings.TrimPrefix(where.Message, "compilation failed: "))
	} else {
		c.fault(0, "%v", err)
	}
	return nil
}

// fault records what is wrong at an offset in characters.
func (c *compiler) fault(offset int, format string, args ...any) {
	line, column := 1, 1
	for i, r := range []rune(c.source) {
		if i == offset {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	c.faults = append(c.faults, &Fault{Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// comparisons maps each operator to the one that is true when it is false.
var comparisons = map[string]string{
	">": "<=", "<=": ">", "<": ">=", ">=": "<", "==": "!=", "!=": "==",
}

// clause compiles a node that must be a condition. It returns a usable node
// even at fault, so that the rest is checked too.
func (c *compiler) clause(n ast.Node, negated bool, depth int) *clause {
	if depth > maxExprDepth {
		c.fault(n.Location().From, "the expression is nested more than %d deep", maxExprDepth)
		return &clause{}
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		return &clause{kind: constant, value: n.Value}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return &clause{kind: not, kids: []*clause{c.clause(n.Node, !negated, depth+1)}}
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			return c.join(and, n, negated, depth)
		case "or", "||":
			return c.join(or, n, negated, depth)
		}
		if _, ok := comparisons[n.Operator]; ok {
			left, right := c.number(n.Left, depth+1), c.number(n.Right, depth+1)
			return newLeaf(left, n.Operator, right, negated)
		}
	}
	c.fault(n.Location().From, "%s is %s, a condition is needed here, for example \"psi_debiased > 0.1\"", excerpt(n), c.describe(n))
	return &clause{}
}

// hint explains the one trap of the grammar: "not" binds tighter than ">".
func hint(n ast.Node) string {
	if u, ok := n.(*ast.UnaryNode); ok && (u.Operator == "not" || u.Operator == "!") {
		return "; \"not\" needs parentheses around a comparison: not (psi > 0.1)"
	}
	return ""
}

// join flattens "a and b and c" into one clause of three.
func (c *compiler) join(kind kind, n *ast.BinaryNode, negated bool, depth int) *clause {
	out := &clause{kind: kind}
	for _, side := range []ast.Node{n.Left, n.Right} {
		kid := c.clause(side, negated, depth+1)
		if kid.kind == kind {
			out.kids = append(out.kids, kid.kids...)
		} else {
			out.kids = append(out.kids, kid)
		}
	}
	return out
}

// number compiles a node that must be a number.
func (c *compiler) number(n ast.Node, depth int) *operand {
	names := map[string]bool{}
	before := len(c.faults)
	c.numeric(n, names, depth)
	if len(c.faults) > before {
		return &operand{}
	}
	o, err := newOperand(n, names)
	if err != nil {
		c.fault(n.Location().From, "%s: %v", excerpt(n), err)
		return &operand{}
	}
	return o
}

// numeric checks that a node is arithmetic on variables and collects these.
func (c *compiler) numeric(n ast.Node, names map[string]bool, depth int) {
	if depth > maxExprDepth {
		c.fault(n.Location().From, "the expression is nested more than %d deep", maxExprDepth)
		return
	}
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return
	case *ast.IdentifierNode:
		c.variable(n, names)
		return
	case *ast.UnaryNode:
		if n.Operator == "-" || n.Operator == "+" {
			c.numeric(n.Node, names, depth+1)
			return
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "+", "-", "*", "/", "**", "^":
			c.numeric(n.Left, names, depth+1)
			c.numeric(n.Right, names, depth+1)
			return
		}
	case *ast.CallNode:
		c.call(n, names, depth)
		return
	}
	c.fault(n.Location().From, "%s is %s, a number is needed here%s", excerpt(n), c.describe(n), hint(n))
}

func (c *compiler) variable(n *ast.IdentifierNode, names map[string]bool) {
	known := append(Variables(), c.metrics...)
	for _, name := range known {
		if name == n.Value {
			names[name] = true
			return
		}
	}
	if s := suggest(n.Value, known); s != "" {
		c.fault(n.Location().From, "unknown variable %.40q; did you mean %q?", n.Value, s)
		return
	}
	c.fault(n.Location().From, "unknown variable %.40q; known are %s", n.Value, strings.Join(known, ", "))
}

func (c *compiler) call(n *ast.CallNode, names map[string]bool, depth int) {
	callee, _ := n.Callee.(*ast.IdentifierNode)
	if callee == nil {
		c.fault(n.Location().From, "methods cannot be called in a rule")
		return
	}
	f, ok := functions[callee.Value]
	if !ok {
		c.fault(callee.Location().From, "function %.40q cannot be used: a rule depends on its window only; abs, max and min can", callee.Value)
		return
	}
	if len(n.Arguments) != f.args {
		c.fault(callee.Location().From, "%s takes %d numbers, not %d", callee.Value, f.args, len(n.Arguments))
		return
	}
	for _, arg := range n.Arguments {
		c.numeric(arg, names, depth+1)
	}
}

// describe says what a node is, for the message of a fault.
func (c *compiler) describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.IdentifierNode, *ast.CallNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode:
		return "text"
	case *ast.UnaryNode:
		if n.Operator == "-" || n.Operator == "+" {
			return "a number"
		}
		return "a condition"
	case *ast.BinaryNode:
		switch n.Operator {
		case "+", "-", "*", "/", "**", "^":
			return "a number"
		case "and", "&&", "or", "||", "<", "<=", ">", ">=", "==", "!=":
			return "a condition"
		}
		return fmt.Sprintf("made with the operator %q, which rules do not have", n.Operator)
	}
	return "not part of the rule language (numbers, comparisons, and, or, not)"
}

// excerpt prints a node, cut to a readable length.
func excerpt(n ast.Node) string {
	s := n.String()
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "..."
	}
	return fmt.Sprintf("%q", s)
}
