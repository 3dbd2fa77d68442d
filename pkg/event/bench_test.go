package event_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"

	"github.com/valyala/fastjson"

	"driftd.dev/driftd/pkg/event"
)

// corpus generates n fraud predictions of 20 features (14 numbers, 4
// categories, a bool and a null), padded by the trace id to 727 bytes each: the
// form of event which the design's measurements used.
func corpus(n int) [][]byte {
	r := rand.New(rand.NewSource(1))
	countries := []string{"DE", "FR", "IT", "ES", "PL", "NL"}
	out := make([][]byte, n)
	for k := range out {
		var b bytes.Buffer
		fmt.Fprintf(&b, `{"id":"01JD%022d","time":"2026-11-22T21:%02d:%02d.%03dZ","model":"fraud","model_version":"42","variant":"primary","features":{`,
			k, k/60%60, k%60, r.Intn(1000))
		for f := range 14 {
			switch f % 3 {
			case 0:
				fmt.Fprintf(&b, `"amount_%02d":%.2f,`, f, r.ExpFloat64()*100)
			case 1:
				fmt.Fprintf(&b, `"ratio_%02d":%.6f,`, f, r.NormFloat64())
			default:
				fmt.Fprintf(&b, `"count_%02d":%d,`, f, r.Intn(500))
			}
		}
		fmt.Fprintf(&b, `"country":%q,"channel":"app","device":"android","currency":"EUR","vip":%t,"note":null},`,
			countries[r.Intn(len(countries))], r.Intn(2) == 0)
		fmt.Fprintf(&b, `"prediction":"ok","scores":{"fraud":%.4f,"ok":%.4f},"latency_ms":%.1f,"entity_id":"order-%06d","trace_id":"`,
			r.Float64(), r.Float64(), r.ExpFloat64()*10, r.Intn(1e6))
		for b.Len() < 725 {
			b.WriteByte("0123456789abcdef"[r.Intn(16)])
		}
		b.WriteString(`"}`)
		out[k] = b.Bytes()
	}
	return out
}

func BenchmarkDecode(b *testing.B) {
	msgs := corpus(4000)
	d := event.NewDecoder(nil, event.DefaultLimits)
	var batch event.Batch
	b.ReportAllocs()
	b.SetBytes(int64(len(msgs[0])))
	for i := 0; b.Loop(); i++ {
		if i%256 == 0 {
			batch.Reset()
		}
		if r := d.Decode(&batch, event.Prediction, "ml.predictions.fraud.42", msgs[i%len(msgs)]); r != nil {
			b.Fatal(r)
		}
	}
}

// BenchmarkFastjson is what BenchmarkDecode is measured against: parsing with
// reused memory and visiting every value, without a schema, a policy or limits.
func BenchmarkFastjson(b *testing.B) {
	msgs := corpus(4000)
	var p fastjson.Parser
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
	b.ReportAllocs()
	b.SetBytes(int64(len(msgs[0])))
	for i := 0; b.Loop(); i++ {
		v, err := p.ParseBytes(msgs[i%len(msgs)])
		if err != nil {
			b.Fatal(err)
		}
		v.GetObject().Visit(func(key []byte, v *fastjson.Value) {
			if v.Type() == fastjson.TypeObject {
				v.GetObject().Visit(visit)
				return
			}
			visit(key, v)
		})
	}
	if numbers == 0 || texts == 0 {
		b.Fatal("nothing visited")
	}
}
