package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// Bodies makes messages for benchmarks faster than any daemon reads them: it
// encodes a ring of predictions once and then only writes the id and the time of
// message i into a copy. It is read-only and may be shared.
type Bodies struct {
	ring  [][]byte
	ids   []int // where the 12 digits of the id start
	times []int // where the time starts
	start time.Time
	step  time.Duration
}

const (
	idDigits   = 12
	timeLayout = "2006-01-02T15:04:05.000Z"
	anyID      = "000000000000"
)

// NewBodies encodes ring messages of the scenario's first model. Message i has
// the id MODEL-<i in 12 digits> and the time start + i*step, in milliseconds.
func NewBodies(s Scenario, seed uint64, ring int, step time.Duration) (*Bodies, error) {
	if ring < 1 {
		return nil, fmt.Errorf("bodies: ring of %d messages, must be at least 1", ring)
	}
	s.Models, s.Length, s.Injections = s.Models[:min(1, len(s.Models))], 0, nil
	st, err := New(s, seed)
	if err != nil {
		return nil, err
	}
	b := &Bodies{start: s.Start.UTC(), step: step}
	var e event.Event
	for len(b.ring) < ring {
		if st.Next(&e); e.Kind != event.Prediction {
			continue
		}
		e.ID, e.Time = e.Model+"-"+anyID, 0
		if err := b.add(event.AppendJSON(nil, &e)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// add finds the id and puts a time of fixed width behind it.
func (b *Bodies) add(body []byte) error {
	id := bytes.Index(body, []byte(anyID+`"`))
	if id < 0 {
		return fmt.Errorf("bodies: no id in %s", body)
	}
	behind := id + idDigits + 1
	field := `,"time":"`
	out := append([]byte(nil), body[:behind]...)
	out = append(out, field+timeLayout+`"`...)
	out = append(out, body[behind:]...)
	b.ring, b.ids, b.times = append(b.ring, out), append(b.ids, id), append(b.times, behind+len(field))
	return nil
}

// ID appends the id of message i.
func (b *Bodies) ID(dst []byte, i uint64) []byte {
	k := int(i % uint64(len(b.ring)))
	body, end := b.ring[k], b.ids[k]
	start := bytes.LastIndexByte(body[:end], '"') + 1
	return appendDigits(append(dst, body[start:end]...), i)
}

// Append appends message i.
func (b *Bodies) Append(dst []byte, i uint64) []byte {
	k := int(i % uint64(len(b.ring)))
	at := len(dst)
	dst = append(dst, b.ring[k]...)
	appendDigits(dst[:at+b.ids[k]], i)
	// AppendFormat scribbles beyond what it returns, so it gets a buffer of its own.
	var stamp [40]byte
	t := b.start.Add(time.Duration(i) * b.step)
	copy(dst[at+b.times[k]:], t.AppendFormat(stamp[:0], timeLayout))
	return dst
}

// MeanBytes is the mean length of a message.
func (b *Bodies) MeanBytes() float64 {
	n := 0
	for _, body := range b.ring {
		n += len(body)
	}
	return float64(n) / float64(len(b.ring))
}

// appendDigits appends i in 12 digits.
func appendDigits(dst []byte, i uint64) []byte {
	var d [20]byte
	s := strconv.AppendUint(d[:0], i, 10)
	for pad := len(s); pad < idDigits; pad++ {
		dst = append(dst, '0')
	}
	return append(dst, s...)
}
