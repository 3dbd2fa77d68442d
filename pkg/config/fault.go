package config

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// A Fault is one thing wrong with a configuration, and where it stands.
type Fault struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0 when the fault has no place in a file
	Column  int    `json:"column"` // from 1, in characters
	Message string `json:"message"`
	Path    string `json:"path,omitempty"` // such as rules[2].expr
	Snippet string `json:"-"`              // the place in the file, three lines with a caret; secrets masked

	meant string // path of the value that a misspelt key was probably for
}

// Error returns "file:line:column: message", without the snippet.
func (f Fault) Error() string {
	if f.Line == 0 {
		if f.Path == "" {
			return f.Message
		}
		return f.Path + ": " + f.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

// Faults is everything wrong with a configuration, in the order of the file.
type Faults []Fault

// Error prints every fault with its snippet.
func (fs Faults) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.Error())
		if f.Snippet != "" {
			b.WriteByte('\n')
			b.WriteString(f.Snippet)
		}
	}
	return b.String()
}

// err returns fs as an error, nil when there is none.
func (fs Faults) err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

// sorted puts fs in the order of the file. Faults without a place come first.
func (fs Faults) sorted() Faults {
	sort.SliceStable(fs, func(i, j int) bool {
		if fs[i].Line != fs[j].Line {
			return fs[i].Line < fs[j].Line
		}
		return fs[i].Column < fs[j].Column
	})
	return fs
}

// suggest returns ` — did you mean "x"?` for the nearest of the known words, ""
// when none is near.
func suggest(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return fmt.Sprintf(" — did you mean %q?", best)
	}
	return ""
}

// nearest returns the known word that needs the fewest edits, "" when all need
// more than one for each three characters.
func nearest(word string, known []string) string {
	best, distance := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// editDistance is the optimal string alignment distance of a and b in bytes:
// insertions, deletions, replacements and swaps of neighbours.
func editDistance(a, b string) int {
	older, old, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, old, row = old, row, older
	}
	return old[len(b)]
}

// What a source line may hold that must not be shown: the value of a key which
// looks like a secret, even a misspelt one, and the user part of a URL.
var (
	secretKey  = regexp.MustCompile(`(?i)((?:key|secret|token|password|webhook\w*url|webhok\w*)["']?\s*:\s*)[^\s#,}][^#,}]*`)
	secretWord = regexp.MustCompile(`(?i)key|secret|token|password|webhook`)
	userInfo   = regexp.MustCompile(`://[^/@\s"']+@`)
)

// snippetWidth is how much of a line a snippet shows, in characters.
const snippetWidth = 160

// snippet shows line and the one before it, with a caret under column; of long lines
// what is around it.
func snippet(lines []string, line, column int, secrets []string) string {
	if line < 1 || line > len(lines) {
		return ""
	}
	last := []rune(mask(lines[line-1], secrets))
	column = max(1, min(column, len(last)+1))
	from := 0
	if len(last) > snippetWidth {
		from = max(0, min(column-snippetWidth/2, len(last)-snippetWidth))
	}
	var b strings.Builder
	if line > 1 {
		fmt.Fprintf(&b, "%5d | %s\n", line-1, part([]rune(mask(lines[line-2], secrets)), from))
	}
	fmt.Fprintf(&b, "%5d | %s\n", line, part(last, from))
	fmt.Fprintf(&b, "      | %s^", strings.Repeat(" ", column-1-from))
	return b.String()
}

// part returns what a snippet shows of a line, from a character on; an ellipsis
// stands for the rest.
func part(line []rune, from int) string {
	shown := slices.Clone(line[min(from, len(line)):min(from+snippetWidth, len(line))])
	if from > 0 && len(shown) > 0 {
		shown[0] = '…'
	}
	if len(line) > from+snippetWidth {
		shown[len(shown)-1] = '…'
	}
	return string(shown)
}

// mask hides the secrets of a source line.
func mask(line string, secrets []string) string {
	for _, s := range secrets {
		line = strings.ReplaceAll(line, s, "<secret>")
	}
	line = secretKey.ReplaceAllString(line, "$1<secret>")
	line = userInfo.ReplaceAllString(line, "://<secret>@")
	return strings.ReplaceAll(line, "\t", " ")
}
