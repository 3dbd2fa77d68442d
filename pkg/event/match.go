package event

import "unicode/utf8"

// Match reports whether a name fits a glob, in which * is any text, also none,
// and ? any one character; everything else is itself. It is the one matcher of
// models, versions, segments and features, here and in the packages above: there
// are no classes, no escapes and no separators that * would stop at.
//
// It goes back to the last star only, so it is linear in practice and quadratic
// at worst.
func Match(glob, name string) bool {
	star, back, g, n := -1, 0, 0, 0
	for n < len(name) {
		_, width := utf8.DecodeRuneInString(name[n:])
		switch {
		case g < len(glob) && glob[g] == '*':
			star, back = g, n
			g++
		case g < len(glob) && glob[g] == '?':
			g, n = g+1, n+width
		case g < len(glob) && glob[g] == name[n]:
			g, n = g+1, n+1
		case star >= 0: // let the star take one character more
			_, width = utf8.DecodeRuneInString(name[back:])
			back += width
			g, n = star+1, back
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}
