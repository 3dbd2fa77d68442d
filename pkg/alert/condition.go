package alert

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
)

// truth is a value of Kleene's three-valued logic, ordered so that "and" is the
// minimum, "or" the maximum and "not" the mirror image.
type truth int8

const (
	no truth = iota
	unknown
	yes
)

// A condition is a compiled expression: a tree of and, or and not over
// comparisons of numbers.
type condition struct {
	root   *clause
	leaves []*clause // in the order of the text
	names  []string  // of the variables, each once, in the order of the text
}

// kind is the kind of a clause.
type kind uint8

const (
	constant kind = iota
	leaf
	and
	or
	not
)

// A clause is a node of a condition.
type clause struct {
	kind  kind
	value bool      // of a constant
	kids  []*clause // of and, or, not

	left, right *operand // of a leaf
	operator    string
	negated     bool // under an odd number of nots
	size        bool // compares counts (n, m, events) only, so says nothing of an effect
}

func newLeaf(left *operand, operator string, right *operand, negated bool) *clause {
	l := &clause{kind: leaf, left: left, operator: operator, right: right, negated: negated, size: true}
	for _, name := range slices.Concat(left.names, right.names) {
		if name != "n" && name != "m" && name != "events" {
			l.size = false
		}
	}
	return l
}

func (c *condition) collect(cl *clause) {
	if cl.kind == leaf {
		c.leaves = append(c.leaves, cl)
		for _, name := range slices.Concat(cl.left.names, cl.right.names) {
			if !slices.Contains(c.names, name) {
				c.names = append(c.names, name)
			}
		}
	}
	for _, kid := range cl.kids {
		c.collect(kid)
	}
}

// eval returns the condition's truth for one window.
func (c *condition) eval(v *Vars) truth { return c.root.eval(v) }

func (cl *clause) eval(v *Vars) truth {
	switch cl.kind {
	case leaf:
		a, b, ok := cl.sides(v)
		if !ok {
			return unknown
		}
		return truthOf(compare(a, cl.operator, b))
	case and:
		t := yes
		for _, kid := range cl.kids {
			if t = min(t, kid.eval(v)); t == no {
				return no
			}
		}
		return t
	case or:
		t := no
		for _, kid := range cl.kids {
			if t = max(t, kid.eval(v)); t == yes {
				return yes
			}
		}
		return t
	case not:
		return yes - cl.kids[0].eval(v)
	case constant:
	}
	return truthOf(cl.value)
}

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (cl *clause) sides(v *Vars) (a, b float64, ok bool) {
	if a, ok = cl.left.value(v); !ok {
		return 0, 0, false
	}
	b, ok = cl.right.value(v)
	return a, b, ok
}

func compare(a float64, operator string, b float64) bool {
	switch operator {
	case ">":
		return a > b
	case ">=":
		return a >= b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case "==":
		return a == b
	}
	return a != b
}

// effect says by how much the condition is exceeded: the largest relative
// distance between the sides of a leaf that speaks for it, 0 if only counts do.
func (c *condition) effect(v *Vars) float64 {
	var effect float64
	for _, l := range c.leaves {
		if a, b, ok := l.sides(v); ok && !l.size && compare(a, l.operator, b) != l.negated {
			d := math.Abs(a - b)
			if b != 0 {
				d /= math.Abs(b)
			}
			effect = max(effect, min(d, math.MaxFloat64)) // JSON has no infinity
		}
	}
	return effect
}

// reason lists the leaves with their values, each as the statement that is true
// of them: "psi_debiased 0.31 > 0.1, n 800 < 1000".
func (c *condition) reason(v *Vars) string {
	if len(c.leaves) == 0 {
		return "always " + strconv.FormatBool(c.eval(v) == yes)
	}
	parts := make([]string, len(c.leaves))
	for i, l := range c.leaves {
		parts[i] = l.statement(v)
	}
	return strings.Join(parts, ", ")
}

func (cl *clause) statement(v *Vars) string {
	a, okA := cl.left.value(v)
	b, okB := cl.right.value(v)
	operator, digits := cl.operator, 4
	if okA && okB {
		if !compare(a, operator, b) {
			operator = comparisons[operator]
		}
		// More digits if rounding would make the statement look wrong.
		for digits < 17 && !compare(rounded(a, digits), operator, rounded(b, digits)) {
			digits++
		}
	}
	return cl.left.print(a, okA, digits) + " " + operator + " " + cl.right.print(b, okB, digits)
}

func rounded(x float64, digits int) float64 {
	r, err := strconv.ParseFloat(number(x, digits), 64)
	if err != nil {
		return x
	}
	return r
}

// number prints x with the given number of significant digits, or more where
// the integer part has more; integers are printed whole.
func number(x float64, digits int) string {
	magnitude := math.Abs(x)
	switch {
	case x == math.Trunc(x) && magnitude < 1e15:
		return strconv.FormatFloat(x+0, 'f', 0, 64)
	case magnitude >= 1e15 || magnitude < 1e-4:
		return strconv.FormatFloat(x, 'g', digits, 64)
	}
	decimals := digits - 1 - int(math.Floor(math.Log10(magnitude)))
	s := strconv.FormatFloat(x, 'f', max(decimals, 0), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// An operand is one side of a comparison. Names and literals, which most sides
// are, need no program.
type operand struct {
	text    string // as printed before its value; "" for a literal
	literal float64
	index   variable    // if variables, see metric
	metric  string      // a declared name outside the catalogue
	program *vm.Program // of anything else
	names   []string    // variables, in the order of the text
}

func newOperand(n ast.Node, names map[string]bool) (*operand, error) {
	o := &operand{index: variables}
	switch n := n.(type) {
	case *ast.IntegerNode:
		o.literal = float64(n.Value)
		return o, nil
	case *ast.FloatNode:
		o.literal = n.Value
		return o, nil
	case *ast.IdentifierNode:
		o.text, o.names = n.Value, []string{n.Value}
		if i, ok := lookup(n.Value); ok {
			o.index = i
		} else {
			o.metric = n.Value
		}
		return o, nil
	}
	env := make(map[string]any, len(names))
	for name := range names {
		env[name] = 0.0
		o.names = append(o.names, name)
	}
	slices.Sort(o.names)
	program, err := expr.Compile(n.String(), options(env)...)
	if err != nil {
		return nil, err
	}
	o.program = program
	if o.text = n.String(); len(o.names) == 0 {
		return o.fold()
	}
	return o, nil
}

// fold turns arithmetic on literals into one literal.
func (o *operand) fold() (*operand, error) {
	x, ok := o.run(map[string]any{})
	if !ok {
		return nil, fmt.Errorf("it has no finite value")
	}
	return &operand{literal: x, index: variables}, nil
}

// options make expr-lang a calculator of float64: its own functions are off,
// and integers become floats, for they would overflow silently.
func options(env map[string]any) []expr.Option {
	opts := []expr.Option{
		expr.Env(env), expr.AsFloat64(), expr.MaxNodes(maxExprNodes),
		expr.DisableAllBuiltins(), expr.Patch(floats{}),
	}
	for name, f := range functions {
		types := any(new(func(x, y float64) float64))
		if f.args == 1 {
			types = new(func(x float64) float64)
		}
		opts = append(opts, expr.Function(name, func(params ...any) (any, error) {
			x, _ := params[0].(float64)
			y, _ := params[len(params)-1].(float64)
			return f.call(x, y), nil
		}, types))
	}
	return opts
}

// floats makes every integer literal a float.
type floats struct{}

// Visit implements ast.Visitor.
func (floats) Visit(n *ast.Node) {
	if i, ok := (*n).(*ast.IntegerNode); ok {
		ast.Patch(n, &ast.FloatNode{Value: float64(i.Value)})
	}
}

// value returns the operand's value, and false if a variable in it is undefined
// or the result is not finite (a division by zero).
func (o *operand) value(v *Vars) (float64, bool) {
	switch {
	case o.program != nil:
		env := make(map[string]any, len(o.names))
		for _, name := range o.names {
			x, ok := v.Get(name)
			if !ok {
				return 0, false
			}
			env[name] = x
		}
		return o.run(env)
	case o.index < variables:
		return v.values[o.index], v.has(o.index)
	case o.metric != "":
		x, ok := v.metrics[o.metric]
		return x, ok
	}
	return o.literal, true
}

// vmMemory bounds what one evaluation may allocate; arithmetic needs none.
const vmMemory = 1000

func (o *operand) run(env map[string]any) (float64, bool) {
	machine := vm.VM{MemoryBudget: vmMemory}
	out, err := machine.Run(o.program, env)
	x, ok := out.(float64)
	return x, ok && err == nil && finite(x)
}

func (o *operand) print(x float64, ok bool, digits int) string {
	switch {
	case o.text == "":
		return strconv.FormatFloat(o.literal, 'g', -1, 64)
	case !ok:
		return o.text + " undefined"
	}
	return o.text + " " + number(x, digits)
}
