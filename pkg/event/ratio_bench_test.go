package event_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/valyala/fastjson"

	"driftd.dev/driftd/pkg/event"
)

// Goal G3 of the design: at most so much of fastjson's time, and no allocation.
const maxDecodeRatio = 0.55

// BenchmarkDecodeRatio decodes events in turn with the Decoder and with fastjson,
// so that the machine's mood hits both. Rounds are short enough that some are not
// interrupted even on a busy machine; the best ones of a stretch give a ratio, and
// the median of the stretches counts, so that neither one lucky nor one unlucky
// moment decides. Beyond the goal the benchmark fails.
func BenchmarkDecodeRatio(b *testing.B) {
	msgs := corpus(500)
	d := event.NewDecoder(nil, event.DefaultLimits)
	var batch event.Batch
	var p fastjson.Parser
	ours := func() {
		for _, m := range msgs {
			batch.Reset()
			if r := d.Decode(&batch, event.Prediction, "ml.predictions.fraud.42", m); r != nil {
				b.Fatal(r)
			}
		}
	}
	theirs := func() {
		for _, m := range msgs {
			v, err := p.ParseBytes(m)
			if err != nil {
				b.Fatal(err)
			}
			visitAll(v)
		}
	}
	best := func(fastest *time.Duration, round func()) {
		start := time.Now()
		round()
		*fastest = min(*fastest, time.Since(start))
	}
	const stretches, rounds = 9, 40
	var own, other time.Duration
	ratios := make([]float64, stretches)
	for i := range ratios {
		own, other = time.Hour, time.Hour
		for range rounds {
			best(&own, ours)
			best(&other, theirs)
		}
		ratios[i] = own.Seconds() / other.Seconds()
	}
	slices.Sort(ratios)
	ratio := ratios[stretches/2]
	perEvent := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(len(msgs)) }
	b.ReportMetric(perEvent(own), "ns/event")
	b.ReportMetric(perEvent(other), "ns/fastjson")
	b.ReportMetric(ratio, "ratio")
	if ratio > maxDecodeRatio {
		b.Errorf("decoding takes %.3f of fastjson's time (%.0f and %.0f ns, stretches from %.2f to %.2f), must be at most %.2f",
			ratio, perEvent(own), perEvent(other), ratios[0], ratios[stretches-1], maxDecodeRatio)
	}
	if allocs := testing.AllocsPerRun(1, ours); allocs > 0 {
		b.Errorf("%v allocations in %d events, must be none", allocs, len(msgs))
	}
}

// visitAll visits every value of an event, as the Decoder does.
func visitAll(v *fastjson.Value) {
	var numbers float64
	var texts int
	visit := func(_ []byte, v *fastjson.Value) {
		switch v.Type() {
		case fastjson.TypeNumber:
			numbers += v.GetFloat64()
		case fastjson.TypeString:
			texts += len(v.GetStringBytes())
		}
	}
	v.GetObject().Visit(func(key []byte, v *fastjson.Value) {
		if v.Type() == fastjson.TypeObject {
			v.GetObject().Visit(visit)
			return
		}
		visit(key, v)
	})
}

// BenchmarkDecodeLines is BenchmarkDecode with 20 events a message, as NDJSON.
func BenchmarkDecodeLines(b *testing.B) {
	const lines = 20
	all := corpus(4000)
	var msgs [][]byte
	for i := 0; i < len(all); i += lines {
		msgs = append(msgs, bytes.Join(all[i:i+lines], []byte("\n")))
	}
	d := event.NewDecoder(nil, event.DefaultLimits)
	var batch event.Batch
	b.ReportAllocs()
	b.SetBytes(int64(len(msgs[0])))
	for i := 0; b.Loop(); i++ {
		batch.Reset()
		if r := d.Decode(&batch, event.Prediction, "ml.predictions.fraud.42", msgs[i%len(msgs)]); r != nil {
			b.Fatal(r)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/event")
}
