package dataset_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/event"
)

// events maps every row of a CSV text and returns the events as JSON lines.
func events(t *testing.T, mapping, text string) (string, error) {
	t.Helper()
	m, err := dataset.ParseMap(mapping)
	if err != nil {
		return "", err
	}
	table := open(t, "t.csv", text)
	if err := m.Bind(table.Columns()); err != nil {
		return "", err
	}
	var e event.Event
	var out []byte
	for row, err := range table.All() {
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Event(row, row.N, &e); err != nil {
			return string(out), err
		}
		e.Model = "m"
		out = append(event.AppendJSON(out, &e), '\n')
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// Arrays of numbers in JSON lines are vectors; other arrays keep their text.
func TestMapVectors(t *testing.T) {
	m, err := dataset.ParseMap("id=id,features=v,x")
	if err != nil {
		t.Fatal(err)
	}
	table := open(t, "t.jsonl", `{"id":"a","v":[1,2.5],"x":1}`+"\n"+`{"id":"b","v":["p"],"x":2}`+"\n"+`{"id":"c","v":[3, 4],"x":3}`+"\n")
	if err := m.Bind(table.Columns()); err != nil {
		t.Fatal(err)
	}
	var e event.Event
	var got []string
	for row, err := range table.All() {
		if err == nil {
			err = m.Event(row, row.N, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		e.Model = "m"
		got = append(got, string(event.AppendJSON(nil, &e)))
	}
	want := []string{
		`{"id":"a","model":"m","features":{"v":[1,2.5],"x":1}}`, `{"id":"b","model":"m","features":{"v":"[\"p\"]","x":2}}`, `{"id":"c","model":"m","features":{"v":[3,4],"x":3}}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMap(t *testing.T) {
	for _, tc := range []struct{ name, mapping, csv, want string }{
		{
			"the contract's example", "id=id,time=2016-01-05T13:20Z+1m*row,prediction=prediction,scores.1=p,features=AGEP,SCHL",
			"id,AGEP,SCHL,prediction,p,year\n68785,46,x21,1,0.9488281669438494,2016\n68786,,x21,0,.25,2016\n",
			`{"id":"68785","time":"2016-01-05T13:20:00Z","model":"m","features":{"AGEP":46,"SCHL":"x21"},"prediction":1,"scores":{"1":0.9488281669438494}}` + "\n" +
				`{"id":"68786","time":"2016-01-05T13:21:00Z","model":"m","features":{"AGEP":null,"SCHL":"x21"},"prediction":0,"scores":{"1":0.25}}`,
		},
		{
			"all features but those used, ids and times", "id='r-'+row,time=t,features=*,confidence=c,segments.site=s,version='v1',variant='canary'",
			"uid_id,t,a,b,c,s\n9,2026-01-01,1,x,0.5,north\n8,2026-01-02T03:04:05Z,2,y,,south\n",
			`{"id":"r-0","time":"2026-01-01T00:00:00Z","model":"m","model_version":"v1","variant":"canary","features":{"a":1,"b":"x"},"confidence":0.5,"segments":{"site":"north"}}` + "\n" +
				`{"id":"r-1","time":"2026-01-02T03:04:05Z","model":"m","model_version":"v1","variant":"canary","features":{"a":2,"b":"y"},"segments":{"site":"south"}}`,
		},
		{
			"a step back, a constant time", "id=row,time=2026-01-01-1h*row,prediction=p,latency_ms=l,cost=k,error=e,entity_id=u,trace_id=w",
			"p,l,k,e,u,w\nyes,1.5,.1,boom,u1,w1\n",
			`{"id":"0","time":"2026-01-01T00:00:00Z","model":"m","prediction":"yes","latency_ms":1.5,"error":"boom","entity_id":"u1","cost":0.1,"trace_id":"w1"}`,
		},
		{
			"an outcome", "prediction_id=id,label=employed,value=employed,name='label',time=2016-01-05,source='HUMAN',annotator='a',explanation='e'",
			"id,employed\n68785,1\n",
			`{"id":"68785/label","time":"2016-01-05T00:00:00Z","prediction_id":"68785","model":"m","name":"label","label":1,"value":1,"source":"HUMAN","annotator":"a","explanation":"e"}`,
		},
		{"quoted names", `id="the, id",features="row","a=b"`, "\"the, id\",row,a=b\n1,2,3\n", `{"id":"1","model":"m","features":{"row":2,"a=b":3}}`},
		{"a literal prediction", "id=row,prediction='ok'", "a\n1\n", `{"id":"0","model":"m","prediction":"ok"}`},
		{"variant from a column", "id=row,prediction=a,variant=v", "a,v\n1,shadow\n", `{"id":"0","model":"m","variant":"shadow","prediction":1}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := events(t, tc.mapping, tc.csv)
			if err != nil || got != tc.want {
				t.Errorf("%v, got\n%s\nwant\n%s", err, got, tc.want)
			}
		})
	}
}

func TestMapFaultsNameTheClause(t *testing.T) {
	const csv = "id,a,p,when\n1,2,x,never\n,3,y,2026-01-01\n"
	for _, tc := range []struct{ mapping, want string }{
		{"id", `map clause "id": must be FIELD=SOURCE`},
		{"id=id,", `map clause "": must be FIELD=SOURCE`},
		{"id=id,id=a,features=*", "field is set twice"},
		{"id=id,colour=a", `unknown field "colour"; fields are id time`},
		{"id=id,scores=a", "scores.NAME"},
		{"id=id,label.x=a", "only scores.CLASS and segments.NAME"},
		{"id=id,features=a,,b", "empty name"},
		{"id=id,features=a,a", `feature "a" is listed twice`},
		{"id=id,time=soon+1m*row,features=*", `start "soon"`},
		{"id=id,time=2026-01-01+1x*row,features=*", `step "1x"`},
		{"id='x,features=a", "must be 'literal'"},
		{"id=id,variant='blue',features=*", `variant "blue": must be primary`},
		{"features=*", "id is missing"},
		{"id=id", "needs features or prediction"},
		{"label=a", "needs prediction_id or entity_id"},
		{"prediction_id=id", "needs label or value"},
		{"prediction_id=id,label=a,features=*", "an outcome has no features"},
		{"prediction_id=id,label=a,scores.x=a", `an outcome has no field "scores"`},
		{"id=idd,features=b,a", `no column "idd"; there are "id", "a", "p", "when"`},
		{"id=id,features=b", `map clause features: no column "b"`},
		{"id=id,features=a,time=when", `line 2: map clause "time=when": column "when": string "never" is no time`},
		{"id=id,features=a,confidence=p", `line 2: map clause "confidence=p": "x" is no number`},
		{"id=row,features=a,variant=p", `line 2: map clause "variant=p": variant "x"`},
		{"id=id,features=a", "line 3: map: the id is missing"},
	} {
		if _, err := events(t, tc.mapping, csv); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.mapping, err, tc.want)
		}
	}
	m, err := dataset.ParseMap("id=id,features=*")
	if err != nil || m.Kind() != event.Prediction {
		t.Fatal(err)
	}
	if err := m.Event(dataset.Row{}, 0, &event.Event{}); err == nil || !strings.Contains(err.Error(), "Bind") {
		t.Errorf("an unbound map: %v", err)
	}
}

// Events of one map share the pointer of their shape, so that consumers may cache
// by it, and mapping allocates nothing but ids.
func TestMapReuses(t *testing.T) {
	m, err := dataset.ParseMap("id=id,features=*,scores.x=p")
	if err != nil {
		t.Fatal(err)
	}
	table := open(t, "t.csv", "id,a,b,p\n1,2,x,.5\n2,3,y,\n")
	if err := m.Bind(table.Columns()); err != nil {
		t.Fatal(err)
	}
	var e event.Event
	var shape *event.Shape
	for row := range table.All() {
		if err := m.Event(row, row.N, &e); err != nil {
			t.Fatal(err)
		}
		if shape != nil && shape != e.Features {
			t.Error("another shape for the same map")
		}
		shape = e.Features
	}
	if len(e.Values) != 2 || len(e.ScoreValues) != 1 || !math.IsNaN(e.ScoreValues[0]) || e.Row != -1 {
		t.Errorf("%+v", e)
	}
}
