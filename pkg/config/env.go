package config

import (
	"fmt"
	"strings"
)

// expand replaces ${VAR}, ${VAR:-default} and ${VAR:?message} in one scalar, and
// "$$" by "$". A dollar before anything else stays as it is, so that regular
// expressions need no escape. Results are not expanded again.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:i])
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			text = text[i+2:]
		case '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("\"${\" without \"}\": write $$ for a dollar sign")
			}
			value, err := variable(text[i+2:i+end], lookup)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			text = text[i+end+1:]
		default:
			b.WriteByte('$')
			text = text[i+1:]
		}
	}
}

// variable returns the value of what stood between the braces. As in a shell,
// ":-" and ":?" treat an empty variable like one that is not set.
func variable(expr string, lookup func(string) (string, bool)) (string, error) {
	name, rest, _ := strings.Cut(expr, ":")
	if !validVariable(name) {
		return "", fmt.Errorf("%q is not the name of an environment variable: write $$ for a dollar sign", name)
	}
	value, set := lookup(name)
	switch {
	case rest == "" && name == expr:
		if !set {
			return "", fmt.Errorf("environment variable %s is not set: set it, or write ${%s:-default}", name, name)
		}
		return value, nil
	case strings.HasPrefix(rest, "-"):
		if value == "" {
			return rest[1:], nil
		}
		return value, nil
	case strings.HasPrefix(rest, "?"):
		if value == "" {
			return "", fmt.Errorf("environment variable %s is not set: %s", name, rest[1:])
		}
		return value, nil
	}
	return "", fmt.Errorf("${%s} is none of ${VAR}, ${VAR:-default} and ${VAR:?message}", expr)
}

func validVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
