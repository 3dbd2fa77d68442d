package alert

import (
	"fmt"
	"strings"
)

// A Fault is one thing wrong with a rule or a route. Compile and CompileRoutes
// join all they find; a caller that knows the file can place them.
type Fault struct {
	Rule    string // the rule's name, "" in a route
	Field   string // the key at fault as the configuration spells it: "expr", "routes[0].receiver"
	Line    int    // place in the field's text, from 1; 0 when it has none
	Column  int    // in characters, from 1
	Message string // what is wrong and what to do
}

// Error returns everything on one line.
func (f *Fault) Error() string {
	var b strings.Builder
	if f.Rule != "" {
		fmt.Fprintf(&b, "rule %q: ", f.Rule)
	}
	b.WriteString(f.Field)
	if f.Line > 0 {
		fmt.Fprintf(&b, " %d:%d", f.Line, f.Column)
	}
	b.WriteString(": ")
	b.WriteString(f.Message)
	return b.String()
}
