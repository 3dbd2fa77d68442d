package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SubjectTemplate says where a NATS subject tells kind, model and version, such
// as "ml.{kind}.{model}.{version}". The tokens of {kind} are predictions,
// outcomes and kpis; of a KPI, {model} is its name. {version} and what follows
// it may be missing from a subject. The zero value is DefaultSubjects.
type SubjectTemplate struct {
	tokens []string
}

// DefaultSubjects is the template of the contract.
const DefaultSubjects = "ml.{kind}.{model}.{version}"

var kindTokens = [...]string{"", "predictions", "outcomes", "kpis"}

// NewSubjectTemplate reads a template. It needs {kind}, and every placeholder
// at most once, as whole tokens.
func NewSubjectTemplate(s string) (SubjectTemplate, error) {
	t := SubjectTemplate{tokens: strings.Split(s, ".")}
	seen := map[string]bool{}
	for i, tok := range t.tokens {
		switch {
		case tok == "{kind}" || tok == "{model}" || tok == "{version}":
			if seen[tok] {
				return SubjectTemplate{}, fmt.Errorf("subject template %q: %s occurs twice", s, tok)
			}
			seen[tok] = true
		case tok == "" || strings.ContainsAny(tok, "{}*> \t\r\n"):
			return SubjectTemplate{}, fmt.Errorf("subject template %q: token %d %q; use text, {kind}, {model} or {version}", s, i+1, tok)
		}
	}
	if !seen["{kind}"] {
		return SubjectTemplate{}, errors.New("subject template " + `"` + s + `": no {kind}, which tells predictions from outcomes and kpis`)
	}
	return t, nil
}

func (t SubjectTemplate) list() []string {
	if t.tokens == nil {
		return []string{"ml", "{kind}", "{model}", "{version}"}
	}
	return t.tokens
}

// String returns the template's text.
func (t SubjectTemplate) String() string { return strings.Join(t.list(), ".") }

// Parse takes a subject apart. model and version are "" where the subject has
// no such token. ok is false where the subject does not fit: other text, an
// unknown kind, tokens missing before {version}, or too many of them.
func (t SubjectTemplate) Parse(subject string) (kind Kind, model, version string, ok bool) {
	rest, more := subject, subject != ""
	optional := false
	for _, want := range t.list() {
		optional = optional || want == "{version}"
		if !more {
			if optional {
				break
			}
			return 0, "", "", false
		}
		var tok string
		tok, rest, more = strings.Cut(rest, ".")
		switch want {
		case "{kind}":
			kind = kindOfToken(tok)
		case "{model}":
			model = tok
		case "{version}":
			version = tok
		default:
			if tok != want {
				return 0, "", "", false
			}
		}
		if tok == "" {
			return 0, "", "", false
		}
	}
	if more || kind == 0 {
		return 0, "", "", false
	}
	return kind, model, version, true
}

func kindOfToken(tok string) Kind {
	for k := Prediction; k <= KPI; k++ {
		if kindTokens[k] == tok {
			return k
		}
	}
	return 0
}

// Filters returns the subscription subjects which cover every subject of the
// template, one for each kind: "ml.predictions.>", or without a placeholder
// after the kind just "ml.predictions".
func (t SubjectTemplate) Filters() []string {
	var out []string
	for k := Prediction; k <= KPI; k++ {
		var toks []string
		for i, tok := range t.list() {
			switch tok {
			case "{kind}":
				tok = kindTokens[k]
			case "{model}", "{version}":
				tok = "*"
			}
			toks = append(toks, tok)
			// From the last model on, versions may be missing: take all that follows.
			if next := i + 1; next < len(t.list()) && onlyPlaceholders(t.list()[next:]) && pastKind(t.list()[:next]) {
				toks = append(toks, ">")
				break
			}
		}
		out = append(out, strings.Join(toks, "."))
	}
	return out
}

func onlyPlaceholders(toks []string) bool {
	for _, tok := range toks {
		if !strings.HasPrefix(tok, "{") {
			return false
		}
	}
	return true
}

func pastKind(toks []string) bool {
	return slices.Contains(toks, "{kind}")
}

// Subject writes the subject of an event: the tokens of its kind, model (of a
// KPI, its name) and version, leaving {version} and what follows out where
// there is none, and always for outcomes and KPIs. It is what publishers use.
func (t SubjectTemplate) Subject(e *Event) string {
	var b strings.Builder
	for i, tok := range t.list() {
		switch tok {
		case "{kind}":
			tok = kindTokens[e.Kind]
		case "{model}":
			tok = Token(e.Model)
			if e.Kind == KPI {
				tok = Token(e.Name)
			}
		case "{version}":
			if e.Kind != Prediction || e.Version == "" {
				return b.String()
			}
			tok = Token(e.Version)
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(tok)
	}
	return b.String()
}

// Token makes a name fit for one token of a subject: every character outside
// [A-Za-z0-9_-] becomes _ and the empty name becomes _. It returns its argument
// unchanged, without allocation, where nothing is to be done.
func Token(name string) string {
	if name == "" {
		return "_"
	}
	for i := 0; i < len(name); i++ {
		if !tokenByte(name[i]) {
			return tokenize(name)
		}
	}
	return name
}

func tokenize(name string) string {
	out := make([]byte, 0, len(name))
	for _, r := range name {
		if r < 0x80 && tokenByte(byte(r)) {
			out = append(out, byte(r))
		} else {
			out = append(out, '_')
		}
	}
	return string(out)
}

func tokenByte(c byte) bool {
	return c-'a' < 26 || c-'A' < 26 || c-'0' < 10 || c == '_' || c == '-'
}
