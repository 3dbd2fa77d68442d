package dataset

import (
	"errors"
	"io"
	"iter"
	"os"
)

// Lines yields the non-empty lines of a text file, gunzipped and held to the
// limits, without reading them: events in JSON lines are published as they are.
// A line is valid until the next one; an error names its place and comes last.
func Lines(path string, l Limits) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = f.Close() }() // only read
		t, err := newText(f, path, 0, l.withDefaults())
		if err != nil {
			yield(nil, err)
			return
		}
		t.skipMark()
		for {
			line, err := t.readLine()
			if errors.Is(err, io.EOF) && !isTyped(err) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if len(line) > 0 && !yield(line, nil) {
				return
			}
		}
	}
}
