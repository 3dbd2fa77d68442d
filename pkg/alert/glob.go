package alert

// glob reports whether name matches pattern, in which "*" stands for any text,
// also none, and "?" for one character. The empty pattern matches every name.
func glob(pattern, name string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	p, s := []rune(pattern), []rune(name)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i++
			j++
		case star >= 0: // let the last star take one character more
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
