package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// The whole map of the store, schema 6. Schema 5 knew no incidents, schema 4 had no days and no shelves in the directory,
// schema 3 packed no windows, schema 2 knew no detection, schema 1 had no directory. Every key is two bytes of table, then
// fields, so that keys of one table sort by their fields:
//
//	field    bytes
//	name     the UTF-8 bytes with 0x00 written as 0x00 0xff, then 0x00 0x01
//	time     8: Unix nanoseconds + 2^63, big-endian
//	u16 u32 u64   big-endian
//	variant  1: 0 primary, 1 canary, 2 shadow
//	group    name(model) name(version) variant name(segment)
//
//	key                                 value
//	m/ "store"                          JSON: schema, uuid, created
//	m/ "progress"                       JSON: Progress
//	m/ "anchor"                         JSON: ledger.Chain, the last entry swept away
//	m/ "directory"                      how many records each table has: directory.go
//	s/ name(model) u16(chunk)           JSON: drift.ModelState
//	o/ group time(start) u16(chunk)     window: pane that is still counted into
//	p/ group time(start) u16(chunk)     window, packed: closed pane
//	h/ group time(start) u16(chunk)     window, packed: closed hour, the sum of its panes
//	y/ group time(start) u16(chunk)     window, packed: day, the sum of its hours
//	e/ u64(id) u16(chunk)               edges, written once and shared by id
//	c/ u64(id) u16(chunk)               dictionary of categories, written once and shared by id
//	b/ name(id) u16(chunk)              baseline
//	a/ name(rule) group name(signal) u16(chunk)
//	                                    JSON: alert.State of one series
//	l/ u64(seq)                         ledger entry
//	d/ name(receiver) u64(seq)          JSON: ledger.Delivery still owed, or told and kept for its receipt
//	x/ name(receiver) u64(seq)          JSON: DeadLetter
//	i/ name(id) u16(chunk)              JSON: incident.Incident
//	z/ name(id)                         JSON: incident.Silence
//	t/ name(incident) u64(n)            JSON: Told, what a receiver has heard of an incident
//	u/ u32(slot)                        ids seen, 8 bytes each, big-endian
//	r/ name(model) u64(n)               bytes: learning chunk n of the model
//	f/ name(model) u8(part) u16(chunk)  bytes: what detection knows of the model; part 0 its state, 1 its fit, 2 notes in JSON
//	k/ name(model) u32(block) u16(chunk)
//	                                    bytes: rows of the model's calibration list
//
// Every value is an envelope, so that a flipped bit, a value under a foreign
// key and a truncated value are told apart from data:
//
//	0    format of the envelope, 1
//	1-4  CRC-32C over the key and then the payload, big-endian
//	5-   payload
//
// A record under keys that end in u16(chunk) may be long and is cut into values
// of 64 KiB (chunk.go). What is not JSON is written out in window.go (window,
// edges, dictionary), baseline.go and journal.go (ledger entry). A change of
// any of these is a new schema.
const (
	tableMeta       = "m/"
	tableModel      = "s/"
	tableOpen       = "o/"
	tablePane       = "p/"
	tableHour       = "h/"
	tableDay        = "y/"
	tableEdges      = "e/"
	tableDictionary = "c/"
	tableBaseline   = "b/"
	tableAlert      = "a/"
	tableLedger     = "l/"
	tableOwed       = "d/"
	tableDead       = "x/"
	tableDedup      = "u/"
	tableLearning   = "r/"
	tableDetection  = "f/"
	tableRows       = "k/"
	tableIncident   = "i/"
	tableSilence    = "z/"
	tableTold       = "t/"

	keyStore     = tableMeta + "store"
	keyProgress  = tableMeta + "progress"
	keyAnchor    = tableMeta + "anchor"
	keyDirectory = tableMeta + "directory"
)

const tableLen = 2

func appendName(b []byte, name string) []byte {
	for {
		i := strings.IndexByte(name, 0)
		if i < 0 {
			break
		}
		b = append(append(b, name[:i]...), 0, 0xff)
		name = name[i+1:]
	}
	return append(append(b, name...), 0, 1)
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, keyNanos(t))
}

// keyNanos returns a time as keys have it.
func keyNanos(t time.Time) uint64 { return uint64(t.UnixNano()) ^ 1<<63 }

func appendGroup(b []byte, g drift.Group) []byte {
	b = appendName(b, g.Model)
	b = appendName(b, g.Version)
	b = append(b, byte(g.Variant))
	return appendName(b, g.Segment)
}

// appendSpan appends a window's key less the chunk: windows of one group sort
// by start.
func appendSpan(b []byte, table string, g drift.Group, start time.Time) []byte {
	return appendTime(appendGroup(append(b, table...), g), start)
}

func appendDelivery(b []byte, table, receiver string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(appendName(append(b, table...), receiver), seq)
}

func numberKey(table string, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(table), n)
}

var errKey = errors.New("key does not follow the key map")

// A keyReader takes the fields of a key one after the other; the first that is
// not there makes all later ones zero.
type keyReader struct {
	rest []byte
	err  error
}

func readKey(key []byte) *keyReader { return &keyReader{rest: key[tableLen:]} }

func (r *keyReader) take(n int) []byte {
	if r.err != nil || len(r.rest) < n {
		r.err = errKey
		return make([]byte, n)
	}
	field := r.rest[:n]
	r.rest = r.rest[n:]
	return field
}

func (r *keyReader) name() string {
	var out []byte
	for i := 0; r.err == nil && i+1 < len(r.rest); i++ {
		if r.rest[i] != 0 {
			out = append(out, r.rest[i])
			continue
		}
		switch i++; r.rest[i] {
		case 1:
			r.rest = r.rest[i+1:]
			return string(out)
		case 0xff:
			out = append(out, 0)
		default:
			r.err = errKey
		}
	}
	r.err = errKey
	return ""
}

func (r *keyReader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *keyReader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *keyReader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *keyReader) time() time.Time {
	return time.Unix(0, int64(r.u64()^1<<63)).UTC()
}

func (r *keyReader) group() drift.Group {
	return drift.Group{
		Model: r.name(), Version: r.name(),
		Variant: event.Variant(r.take(1)[0]), Segment: r.name(),
	}
}

// end returns what was wrong with the key, which must have been read whole.
func (r *keyReader) end(key []byte) error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = errKey
	}
	if r.err != nil {
		return fmt.Errorf("%w: key %q: %w", ErrDamaged, key, r.err)
	}
	return nil
}
