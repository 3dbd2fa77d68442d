package event_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

func TestDecodeDoesNotAllocate(t *testing.T) {
	hashed := policy(t, event.PolicySpec{
		Fields: fields{"country": {Action: event.HMAC}, "amount_00": {Action: event.Bucket, BucketWidth: 10}, "count_02": {Type: event.CategoricalType}, "note": {Action: event.Drop}},
		Models: []event.ModelPolicy{{Glob: "fraud*", Fields: fields{"channel": {Action: event.Drop}}}},
	})
	msgs := corpus(256)
	rows := []byte(`{"id":"a","model":"m","rows":[{"features":{"x":1,"v":[1,2]},"segments":{"c":"d"}},{"features":{"x":2,"v":[1,2]}}]}`)
	for _, c := range []struct {
		name   string
		policy *event.Policy
		msgs   [][]byte
	}{
		{"plain", nil, msgs},
		{"policy", hashed, msgs},
		{"two producers", nil, [][]byte{msgs[0], rows, msgs[1], rows}},
		{"lines", nil, [][]byte{[]byte(string(msgs[0]) + "\n" + string(msgs[1]))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := event.NewDecoder(c.policy, event.DefaultLimits)
			var b event.Batch
			run := func() {
				b.Reset()
				for _, m := range c.msgs {
					if r := d.Decode(&b, event.Prediction, "", m); r != nil {
						t.Fatal(r)
					}
				}
			}
			run()
			if n := testing.AllocsPerRun(100, run) / float64(len(c.msgs)); n > .05 { // text of the policy takes 16 KiB at a time
				t.Errorf("%v allocations a message", n)
			}
			if c.policy == nil {
				if n := testing.AllocsPerRun(100, run); n != 0 {
					t.Errorf("%v allocations", n)
				}
			}
		})
	}
}

// Equal key orders of a producer share one Shape; others do not.
func TestShapesAreStable(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	var b event.Batch
	shape := func(model, features string) *event.Shape {
		t.Helper()
		if r := d.Decode(&b, event.Prediction, "", []byte(`{"id":"a","model":"`+model+`","features":{`+features+`}}`)); r != nil {
			t.Fatal(r)
		}
		e := b.Events[len(b.Events)-1]
		if len(e.Values) != len(e.Features.Names) {
			t.Fatalf("%d values of %v", len(e.Values), e.Features.Names)
		}
		for i, name := range e.Features.Names { // every feature here has its name's length as value
			if e.Values[i].Num != float64(len(name)) {
				t.Fatalf("%s: %+v", name, e)
			}
		}
		return e.Features
	}
	const abc, ac, cab, ab, abcd, none = `"a":1,"bb":2,"ccc":3`, `"a":1,"ccc":3`, `"ccc":3,"a":1,"bb":2`, `"a":1,"bb":2`, `"a":1,"bb":2,"ccc":3,"\u0064ddd":4`, ``
	first := map[string]*event.Shape{}
	orders := []string{abc, abc, ac, abc, cab, ab, abc, none, abcd, abcd, ac, ab, none, cab, abc, `"ccc" : 3 , "a" : 1 , "bb" : 2`, abcd}
	for _, o := range orders {
		s := shape("m", o)
		norm := strings.ReplaceAll(o, " ", "")
		if was, ok := first[norm]; ok && was != s {
			t.Errorf("%s: another Shape", o)
		}
		first[norm] = s
		if s.Transient {
			t.Errorf("%s: transient", o)
		}
	}
	if len(first) != 6 {
		t.Fatal(len(first))
	}
	// A refused object teaches an order, too: it must not pass for the last good one's.
	lone := shape("m", `"a":1`)
	if r := d.Decode(&b, event.Prediction, "", []byte(`{"id":"a","model":"m","features":{"bb":nope`)); r == nil {
		t.Fatal("accepted")
	}
	if shape("m", `"bb":2`) == lone {
		t.Error("the Shape of another order")
	}
	if shape("n", abc) == first[abc] {
		t.Error("two models share a Shape: their policies may differ")
	}
	if diff := cmp.Diff([]string{"a", "bb", "ccc", "dddd"}, first[abcd].Names); diff != "" {
		t.Error(diff)
	}
}

// Producers which never send the same names twice cost bounded memory, and
// their events are still right.
func TestMemoryIsBounded(t *testing.T) {
	d := event.NewDecoder(nil, event.Limits{Shapes: 8})
	var b event.Batch
	transient := 0
	send := func(n int) {
		for k := range n {
			b.Reset()
			data := fmt.Sprintf(`{"id":"a","model":"m%d","features":{"f%d_%s":%d,"g":[1]},"scores":{"s%d":%d}}`, k%20, k, strings.Repeat("x", 900), k, k, k)
			if r := d.Decode(&b, event.Prediction, "", []byte(data)); r != nil {
				t.Fatal(r)
			}
			e := b.Events[0]
			if e.Values[0] != event.Num(float64(k)) || e.ScoreValues[0] != float64(k) || !strings.HasPrefix(e.Features.Names[0], fmt.Sprintf("f%d_", k)) || e.Scores.Names[0] != fmt.Sprint("s", k) || e.Vector(1)[0] != 1 {
				t.Fatalf("%+v", e)
			}
			if e.Features.Transient {
				transient++
			}
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	send(100)
	before := heap()
	send(5000)
	if grown := int64(heap()) - int64(before); grown > 1<<20 { // 5,000 names would be 9 MB
		t.Errorf("%d bytes more after 5,000 new names", grown)
	}
	if transient < 5000 {
		t.Errorf("%d transient shapes", transient)
	}
	runtime.KeepAlive(d)
}

// Strings stay right when the decoder and the batch go on.
func TestStringsOutliveTheBatch(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	var b event.Batch
	var kept, want []string
	for k := range 3000 { // more text than one block of the arena holds
		b.Reset()
		want = append(want, fmt.Sprintf("n\n%d", k))
		if r := d.Decode(&b, event.Prediction, "", fmt.Appendf(nil, `{"id":"n\n%d","model":"m","prediction":1}`, k)); r != nil {
			t.Fatal(r)
		}
		kept = append(kept, b.Events[0].ID)
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Error(diff)
	}
}
