package store

import (
	"encoding/binary"
	"errors"
)

var errShort = errors.New("it ends too early")

// fields takes the parts of a payload one after the other; the first that is
// not there makes all later ones zero.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err, f.rest = err, nil
	}
}

// take returns the next n bytes, which stay part of the payload.
func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.rest)) {
		f.fail(errShort)
		return nil
	}
	part := f.rest[:n]
	f.rest = f.rest[n:]
	return part
}

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) u64() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.fail(errShort)
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// text returns a copy of a string behind its length.
func (f *fields) text() string { return string(f.take(f.uvarint())) }

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendFlag(b []byte, flag bool) []byte {
	if flag {
		return append(b, 1)
	}
	return append(b, 0)
}
