package event

import (
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// OTLP logs (ExportLogsServiceRequest of opentelemetry-proto 1.x, as protobuf
// or JSON): the body of each record becomes plain JSON, which bento.go reads.

// logRecord is one log record.
type logRecord struct {
	body     []byte // plain JSON; nil = absent
	time     uint64 // Unix nanoseconds; 0 = absent
	observed uint64
	trace    string // hex, "" = absent
}

const otlpName = "otlp logs"

// noTrace is what the SDK of Python sends for a record outside of any trace.
var noTrace [16]byte

// otlpProto reads the protobuf.
func (d *Decoder) otlpProto(b *Batch, env Envelope, subject string, data []byte) *Reject {
	p := protoReader{d: d}
	ok := p.fields(data, func(num protowire.Number, v protoValue) bool {
		return num != 1 || p.fields(v.bytes, func(num protowire.Number, v protoValue) bool { // resource_logs
			return num != 2 || p.fields(v.bytes, func(num protowire.Number, v protoValue) bool { // scope_logs
				return num != 2 || p.record(v.bytes) // log_records
			})
		})
	})
	if !ok {
		return d.refuse(otlpName, -1)
	}
	return d.bento(b, env, subject, p.records)
}

// protoReader walks protobuf messages. Where it returns false a fault is
// recorded in the Decoder.
type protoReader struct {
	d       *Decoder
	records []logRecord
}

// protoValue is a field's value: bytes of a message or text, or bits.
type protoValue struct {
	bytes []byte
	bits  uint64
}

func (p *protoReader) fail(what string) bool {
	where := ""
	if n := len(p.records); n > 0 {
		where = "after record " + strconv.Itoa(n-1) + ": "
	}
	p.d.fail(Decode, 0, "%s%s", where, what)
	return false
}

// fields calls each for every field of a message.
func (p *protoReader) fields(data []byte, each func(protowire.Number, protoValue) bool) bool {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return p.fail("not the protobuf of OTLP logs: " + protowire.ParseError(n).Error())
		}
		data = data[n:]
		var v protoValue
		switch typ {
		case protowire.VarintType:
			v.bits, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			v.bits, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return p.fail("not the protobuf of OTLP logs: " + protowire.ParseError(n).Error())
		}
		data = data[n:]
		if !each(num, v) {
			return false
		}
	}
	return true
}

func (p *protoReader) record(data []byte) bool {
	if len(p.records) >= p.d.limits.Rows {
		p.d.fail(Limit, 0, "more than %d log records in one message; send smaller batches", p.d.limits.Rows)
		return false
	}
	var r logRecord
	ok := p.fields(data, func(num protowire.Number, v protoValue) bool {
		switch num {
		case 1:
			r.time = v.bits
		case 11:
			r.observed = v.bits
		case 9:
			if len(v.bytes) == 16 && [16]byte(v.bytes) != noTrace {
				r.trace = hex.EncodeToString(v.bytes)
			}
		case 5:
			body, ok := p.value(nil, v.bytes, 1)
			r.body = body
			return ok
		}
		return true
	})
	p.records = append(p.records, r)
	return ok
}

// value appends an AnyValue as plain JSON. depth is its nesting.
func (p *protoReader) value(dst, data []byte, depth int) ([]byte, bool) {
	if depth > p.d.limits.Depth {
		return dst, p.fail("nested deeper than " + strconv.Itoa(p.d.limits.Depth) + " levels; flatten it")
	}
	start := len(dst)
	ok := p.fields(data, func(num protowire.Number, v protoValue) bool {
		dst = dst[:start] // of a oneof the last counts
		ok := true
		switch num {
		case 1:
			if !utf8.Valid(v.bytes) {
				return p.fail("invalid UTF-8; send text as UTF-8")
			}
			dst = AppendString(dst, string(v.bytes))
		case 2:
			dst = strconv.AppendBool(dst, v.bits != 0)
		case 3:
			dst = strconv.AppendInt(dst, int64(v.bits), 10)
		case 4:
			dst = AppendNumber(dst, math.Float64frombits(v.bits))
		case 5:
			dst, ok = p.array(dst, v.bytes, depth)
		case 6:
			dst, ok = p.object(dst, v.bytes, depth)
		case 7:
			dst = append(dst, "{}"...) // bytes have no place in the schema
		}
		return ok
	})
	if len(dst) == start {
		dst = append(dst, "null"...)
	}
	return dst, ok
}

func (p *protoReader) array(dst, data []byte, depth int) ([]byte, bool) {
	dst = append(dst, '[')
	first := true
	ok := p.fields(data, func(num protowire.Number, v protoValue) bool {
		if num != 1 {
			return true
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		var ok bool
		dst, ok = p.value(dst, v.bytes, depth+1)
		return ok
	})
	return append(dst, ']'), ok
}

func (p *protoReader) object(dst, data []byte, depth int) ([]byte, bool) {
	w := writer{append(dst, '{')}
	ok := p.fields(data, func(num protowire.Number, v protoValue) bool {
		if num != 1 {
			return true
		}
		var key string
		var value []byte
		if !p.fields(v.bytes, func(num protowire.Number, v protoValue) bool {
			switch num {
			case 1:
				key = string(v.bytes)
			case 2:
				value = v.bytes
			}
			return true
		}) {
			return false
		}
		if !utf8.ValidString(key) {
			return p.fail("invalid UTF-8 in a key; send text as UTF-8")
		}
		w.key(key)
		var ok bool
		w.dst, ok = p.value(w.dst, value, depth+1)
		return ok
	})
	return append(w.dst, '}'), ok
}

// otlpJSON reads the JSON of OTLP, whose object is at i.
func (d *Decoder) otlpJSON(b *Batch, env Envelope, subject string, i int) *Reject {
	var records []logRecord
	list := func(at int, names [2]string, each func(at int) int) int {
		return d.elements(at, func(_, at int) int {
			return d.members(at, func(name string, at int) int {
				if name == names[0] || name == names[1] {
					return each(at)
				}
				return d.skip(at, 2)
			})
		})
	}
	end := d.members(i, func(name string, at int) int {
		if name != "resourceLogs" && name != "resource_logs" {
			return d.skip(at, 1)
		}
		return list(at, [2]string{"scopeLogs", "scope_logs"}, func(at int) int {
			return list(at, [2]string{"logRecords", "log_records"}, func(at int) int {
				return d.elements(at, func(_, at int) int {
					if len(records) >= d.limits.Rows {
						return d.fail(Limit, at, "more than %d log records in one message; send smaller batches", d.limits.Rows)
					}
					r, end := d.jsonRecord(at)
					records = append(records, r)
					return end
				})
			})
		})
	})
	if end >= 0 {
		if at := skipSpace(d.s, end); at < len(d.s) {
			d.fail(Decode, at, "%s after the end of the logs", charName(d.s[at]))
			end = -1
		}
	}
	if end < 0 {
		return d.refuse(otlpName, 0)
	}
	return d.bento(b, env, subject, records)
}

func (d *Decoder) jsonRecord(i int) (logRecord, int) {
	var r logRecord
	nanos := func(at int) (uint64, int) {
		text, end := d.scalar(at)
		ns, _ := strconv.ParseUint(text, 10, 64) // 0 = absent
		return ns, end
	}
	end := d.members(i, func(name string, at int) (end int) {
		switch name {
		case "timeUnixNano", "time_unix_nano":
			r.time, end = nanos(at)
		case "observedTimeUnixNano", "observed_time_unix_nano":
			r.observed, end = nanos(at)
		case "traceId", "trace_id":
			if r.trace, end = d.scalar(at); r.trace == hex.EncodeToString(noTrace[:]) {
				r.trace = ""
			}
		case "body":
			r.body, end = d.jsonValue(nil, at, 1)
		default:
			end = d.skip(at, 3)
		}
		return end
	})
	return r, end
}

// jsonValue appends the AnyValue at i as plain JSON.
func (d *Decoder) jsonValue(dst []byte, i, depth int) ([]byte, int) {
	if depth > d.limits.Depth {
		return dst, d.fail(Decode, i, "nested deeper than %d levels; flatten it", d.limits.Depth)
	}
	start := len(dst)
	end := d.members(i, func(name string, at int) (end int) {
		dst = dst[:start]
		switch name {
		case "stringValue", "string_value", "boolValue", "bool_value":
			if end = d.skip(at, depth); end >= 0 {
				dst = append(dst, d.s[at:end]...)
			}
		case "intValue", "int_value":
			dst, end = d.jsonNumber(dst, at, "a whole number")
		case "doubleValue", "double_value":
			dst, end = d.jsonNumber(dst, at, "a number")
		case "arrayValue", "array_value":
			dst, end = d.jsonValues(append(dst, '['), at, depth, false)
		case "kvlistValue", "kvlist_value":
			dst, end = d.jsonValues(append(dst, '{'), at, depth, true)
		default:
			dst, end = append(dst, "{}"...), d.skip(at, depth)
		}
		return end
	})
	if len(dst) == start {
		dst = append(dst, "null"...)
	}
	return dst, end
}

// jsonNumber appends the number at i, which may stand in quotes (and then may
// be NaN or Infinity).
func (d *Decoder) jsonNumber(dst []byte, i int, want string) ([]byte, int) {
	text, end := d.scalar(i)
	if end < 0 {
		return dst, -1
	}
	if _, stop := parseDecimal(text, 0); stop == len(text) && text != "" {
		return append(dst, text...), end
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return dst, d.wrongType(i, want)
	}
	return AppendNumber(dst, x), end
}

// jsonValues appends {"values": [...]} at i: AnyValues, or keys with them.
func (d *Decoder) jsonValues(dst []byte, i, depth int, keyed bool) ([]byte, int) {
	w := writer{dst}
	end := d.members(i, func(name string, at int) int {
		if name != "values" {
			return d.skip(at, depth)
		}
		return d.elements(at, func(_, at int) (end int) {
			if keyed {
				return d.jsonPair(&w, at, depth)
			}
			if w.dst[len(w.dst)-1] != '[' {
				w.dst = append(w.dst, ',')
			}
			w.dst, end = d.jsonValue(w.dst, at, depth+1)
			return end
		})
	})
	if keyed {
		return append(w.dst, '}'), end
	}
	return append(w.dst, ']'), end
}

func (d *Decoder) jsonPair(w *writer, i, depth int) int {
	key := ""
	var value []byte
	end := d.members(i, func(name string, at int) (end int) {
		switch name {
		case "key":
			key, end = d.short(at)
		case "value":
			value, end = d.jsonValue(nil, at, depth+1)
		default:
			end = d.skip(at, depth)
		}
		return end
	})
	if value == nil {
		value = []byte("null")
	}
	w.key(key)
	w.dst = append(w.dst, value...)
	return end
}
