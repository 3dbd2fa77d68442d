package detect

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrCodec is wrapped by every error about bytes that cannot be decoded.
var ErrCodec = errors.New("damaged bytes")

// The encodings are stored and outlive the process. Integers are uvarints unless
// a width is given, widths are little-endian, times are Unix nanoseconds as 8
// bytes with 0 for none, texts are a length and bytes.
//
//	fit       version 1, baseline, window (ns), dropped, flags (1 frozen, 2 inherited),
//	          detectors n, n * (signal, component byte); if frozen n * (8 season, tau2,
//	          6 memory, gross: float32)
//	state     version 1, rows, calibrated, together (byte), a, theta (float64), last, carry,
//	          n, n * (6 R, 6 S: float32; 6 since: 4 bytes; age; 6 lags, worth, gross:
//	          float32; level, known, calm, run, over: bytes), incident as JSON ("" for none)
//
// Equal values have equal bytes, and what is decoded goes on bit for bit as the
// original would have.
const codecVersion = 1

// maxWidth bounds the detectors that damaged bytes can ask for.
const maxWidth = 1 << 20

const (
	flagFrozen    = 1
	flagInherited = 2
)

// AppendFit appends the encoding of f.
func AppendFit(dst []byte, f *Fit) []byte {
	dst = binary.AppendUvarint(dst, codecVersion)
	dst = appendText(dst, f.Baseline)
	dst = binary.AppendUvarint(dst, uint64(f.Window))
	dst = binary.AppendUvarint(dst, uint64(f.Dropped))
	flags := byte(0)
	if f.Frozen {
		flags |= flagFrozen
	}
	if f.Inherited {
		flags |= flagInherited
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(len(f.Detectors)))
	for _, d := range f.Detectors {
		dst = append(appendText(dst, d.Signal), byte(d.Component))
	}
	for i := range f.params {
		p := &f.params[i]
		dst = appendFloats(dst, p.season[:]...)
		dst = appendFloats(dst, p.tau2)
		dst = appendFloats(dst, p.phi[:]...)
		dst = appendFloats(dst, p.gross)
	}
	return dst
}

// DecodeFit reads what AppendFit wrote. Damaged bytes are an error that wraps
// ErrCodec.
func DecodeFit(data []byte) (*Fit, error) {
	d := decoder{data: data}
	d.version()
	f := &Fit{Baseline: d.text(), Window: time.Duration(d.uvarint()), Dropped: int(d.uvarint())}
	flags := d.byte()
	f.Frozen, f.Inherited = flags&flagFrozen != 0, flags&flagInherited != 0
	n := d.length(2)
	f.Detectors = make([]Detector, 0, n)
	for range n {
		f.Detectors = append(f.Detectors, Detector{Signal: d.text(), Component: Component(d.byte())})
	}
	if f.Frozen {
		f.params = make([]param, n)
		for i := range f.params {
			p := &f.params[i]
			d.floats(p.season[:])
			p.tau2 = d.float()
			d.floats(p.phi[:])
			p.gross = d.float()
		}
	}
	if err := d.end("fit"); err != nil {
		return nil, err
	}
	return f, nil
}

// AppendState appends the encoding of s without its Fit.
func AppendState(dst []byte, s *State) ([]byte, error) {
	dst = binary.AppendUvarint(dst, codecVersion)
	dst = binary.AppendUvarint(dst, uint64(s.rows))
	dst = binary.AppendUvarint(dst, uint64(s.calibrated))
	dst = append(dst, s.together)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.law.a))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.law.theta))
	dst = appendTime(appendTime(dst, s.last), s.carry)
	dst = binary.AppendUvarint(dst, uint64(len(s.live)))
	for j := range s.live {
		l := &s.live[j]
		dst = appendFloats(dst, l.r[:]...)
		dst = appendFloats(dst, l.s[:]...)
		for _, v := range l.since {
			dst = binary.LittleEndian.AppendUint32(dst, v)
		}
		dst = binary.AppendUvarint(dst, uint64(l.age))
		dst = appendFloats(dst, l.lags[:]...)
		dst = appendFloats(dst, l.worth, l.gross)
		known := byte(0)
		if l.known {
			known = 1
		}
		dst = append(dst, byte(l.level), known, l.calm, l.run, l.over)
	}
	if s.incident == nil {
		return appendText(dst, ""), nil
	}
	text, err := json.Marshal(s.incident)
	if err != nil {
		return nil, fmt.Errorf("encode incident: %w", err)
	}
	return appendText(dst, string(text)), nil
}

// DecodeState reads what AppendState wrote; f must be the state's Fit. Damaged
// bytes, and those of another number of detectors, are an error that wraps
// ErrCodec.
func DecodeState(data []byte, f *Fit) (*State, error) {
	d := decoder{data: data}
	d.version()
	s := &State{fit: f, rows: uint32(d.uvarint()), calibrated: uint32(d.uvarint()), together: d.byte()}
	s.law = calibration{a: math.Float64frombits(d.uint64()), theta: math.Float64frombits(d.uint64())}
	s.last, s.carry = d.time(), d.time()
	if n := d.length(1); d.err == nil && n != len(f.Detectors) {
		return nil, fmt.Errorf("decode state: %d detectors, its fit has %d: %w", n, len(f.Detectors), ErrCodec)
	}
	s.live = make([]live, len(f.Detectors))
	for j := range s.live {
		l := &s.live[j]
		d.floats(l.r[:])
		d.floats(l.s[:])
		for i := range l.since {
			l.since[i] = d.uint32()
		}
		l.age = uint32(d.uvarint())
		d.floats(l.lags[:])
		l.worth, l.gross = d.float(), d.float()
		l.level, l.known, l.calm, l.run, l.over = Level(d.byte()), d.byte() == 1, d.byte(), d.byte(), d.byte()
	}
	text := d.text()
	if err := d.end("state"); err != nil {
		return nil, err
	}
	if text != "" {
		s.incident = &Incident{}
		if err := json.Unmarshal([]byte(text), s.incident); err != nil {
			return nil, fmt.Errorf("decode incident: %w: %w", ErrCodec, err)
		}
	}
	return s, nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFloats(dst []byte, values ...float32) []byte {
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}

func appendTime(dst []byte, t time.Time) []byte {
	ns := int64(0)
	if !t.IsZero() {
		ns = t.UnixNano()
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(ns))
}

// decoder takes fields off the front of data; after the first fault it returns
// zeros, so that who decodes checks once.
type decoder struct {
	data []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err, d.data = fmt.Errorf(format, args...), nil
	}
}

func (d *decoder) wrap(what string) error {
	if d.err == nil {
		return nil
	}
	return fmt.Errorf("decode %s: %w: %w", what, ErrCodec, d.err)
}

// end is wrap for what must be the last field.
func (d *decoder) end(what string) error {
	if len(d.data) > 0 {
		d.fail("%d bytes too many", len(d.data))
	}
	return d.wrap(what)
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || n > len(d.data) {
		d.fail("%d bytes end before a field of %d", len(d.data), n)
		return nil
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) version() {
	if v := d.uvarint(); d.err == nil && v != codecVersion {
		d.fail("unknown version %d", v)
	}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail("a varint is cut short or too long")
		return 0
	}
	d.data = d.data[n:]
	return v
}

// length reads a number of items of at least width bytes each.
func (d *decoder) length(width int) int {
	n := d.uvarint()
	if n > uint64(len(d.data)/width) {
		d.fail("%d items do not fit into %d bytes", n, len(d.data))
		return 0
	}
	return int(n)
}

func (d *decoder) text() string { return string(d.bytes(d.length(1))) }

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) float() float32 { return math.Float32frombits(d.uint32()) }

func (d *decoder) floats(into []float32) {
	for i := range into {
		into[i] = d.float()
	}
}

func (d *decoder) time() time.Time {
	ns := int64(d.uint64())
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
