package dataset

import (
	"errors"
	"fmt"
	"strings"
)

// ErrLimit is wrapped by every error about a file that is larger than Limits allow.
var ErrLimit = errors.New("limit exceeded")

// Error says where in a file something is wrong.
type Error struct {
	File   string
	Line   int64  // 1-based line of a text file, or row of a Parquet file; 0 = the file as a whole
	Column string // "" = not about one column
	Rows   bool   // Line counts rows (Parquet), not lines
	Err    error
}

// Error prints file:line: column "name": cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	switch {
	case e.Line > 0 && e.Rows:
		fmt.Fprintf(&b, ": row %d", e.Line)
	case e.Line > 0:
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ": column %q", e.Column)
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
