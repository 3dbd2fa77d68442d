package api

import (
	"bytes"
	"strconv"
)

// A piece is one line or element of a body.
type piece struct {
	data  []byte
	where string // "line 3, " or "element 3, "; "" for a body of one piece
}

// split cuts a JSON array into its elements, and NDJSON into its values, so that
// each is stored under its own id and a faulty one costs no other. What it cannot
// cut stays whole: the decoder says what is wrong with it. Pieces alias body.
func split(body []byte) []piece {
	i := 0
	if bytes.HasPrefix(body, []byte("\uFEFF")) {
		i = len("\uFEFF")
	}
	i = skipBlank(body, i)
	whole := []piece{{data: body}}
	if i == len(body) {
		return whole
	}
	pieces := []piece{}
	switch body[i] {
	case '[':
		pieces = elements(body, i)
	case '{':
		pieces = lines(body, i)
	}
	if len(pieces) < 2 {
		return whole
	}
	return pieces
}

// elements cuts the array at i; nil if its brackets and commas do not match.
func elements(body []byte, i int) (pieces []piece) {
	for {
		start := skipBlank(body, i+1)
		if i = valueEnd(body, start); i < 0 {
			return nil
		}
		pieces = append(pieces, piece{body[start:i:i], "element " + strconv.Itoa(len(pieces)) + ", "})
		i = skipBlank(body, i)
		switch {
		case i < len(body) && body[i] == ',':
		case i < len(body) && body[i] == ']' && skipBlank(body, i+1) == len(body):
			return pieces
		default:
			return nil
		}
	}
}

// lines cuts values that end with their lines. After a fault it goes on with the
// next line that begins an object, as the decoder does.
func lines(body []byte, i int) (pieces []piece) {
	line, counted := 1, 0
	for i < len(body) {
		end := valueEnd(body, i)
		if end >= 0 {
			rest := end
			for rest < len(body) && (body[rest] == ' ' || body[rest] == '\t' || body[rest] == '\r') {
				rest++
			}
			if rest < len(body) && body[rest] != '\n' {
				end = -1
			}
		}
		if end < 0 {
			end = len(body)
			if next := bytes.Index(body[i:], []byte("\n{")); next >= 0 {
				end = i + next
			}
		}
		line += bytes.Count(body[counted:i], []byte("\n"))
		counted = i
		pieces = append(pieces, piece{body[i:end:end], "line " + strconv.Itoa(line) + ", "})
		i = skipBlank(body, end)
	}
	return pieces
}

func skipBlank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index behind the JSON value at i; -1 if there is none. It
// only follows brackets and quotes.
func valueEnd(b []byte, i int) int {
	depth, start := 0, i
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return -1
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				if i == start {
					return -1
				}
				return i
			}
			continue
		default:
			continue
		}
		if depth < 0 {
			if i == start {
				return -1
			}
			return i
		}
		if depth == 0 {
			return i + 1
		}
	}
	if depth != 0 || i == start {
		return -1
	}
	return i
}
