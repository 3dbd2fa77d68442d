package event_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

func template(t *testing.T, s string) event.SubjectTemplate {
	t.Helper()
	st, err := event.NewSubjectTemplate(s)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestSubjects(t *testing.T) {
	for _, c := range []struct {
		template, subject string
		kind              event.Kind // 0 = does not fit
		model, version    string
	}{
		{"", "ml.predictions.fraud.42", event.Prediction, "fraud", "42"},
		{"", "ml.predictions.fraud", event.Prediction, "fraud", ""},
		{"", "ml.outcomes.fraud", event.Outcome, "fraud", ""},
		{"", "ml.kpis.conversion", event.KPI, "conversion", ""},
		{"", "ml.predictions", 0, "", ""},
		{"", "ml.predictions.", 0, "", ""},
		{"", "ml.predictions..42", 0, "", ""},
		{"", "ml.predictions.fraud.42.x", 0, "", ""},
		{"", "ml.guesses.fraud", 0, "", ""},
		{"", "other.predictions.fraud", 0, "", ""},
		{"", "", 0, "", ""},
		{"{model}.v.{kind}", "fraud.v.outcomes", event.Outcome, "fraud", ""},
		{"{model}.v.{kind}", "fraud.w.outcomes", 0, "", ""},
		{"all.{kind}", "all.kpis", event.KPI, "", ""},
	} {
		st := event.SubjectTemplate{}
		if c.template != "" {
			st = template(t, c.template)
		}
		kind, model, version, ok := st.Parse(c.subject)
		if ok != (c.kind != 0) || kind != c.kind || model != c.model || version != c.version {
			t.Errorf("%s as %s: got %v %q %q %v", c.subject, st, kind, model, version, ok)
		}
	}
}

func TestSubjectFilters(t *testing.T) {
	for text, want := range map[string][]string{
		event.DefaultSubjects:   {"ml.predictions.>", "ml.outcomes.>", "ml.kpis.>"},
		"all.{kind}":            {"all.predictions", "all.outcomes", "all.kpis"},
		"{model}.{kind}":        {"*.predictions", "*.outcomes", "*.kpis"},
		"{kind}.{model}.events": {"predictions.*.events", "outcomes.*.events", "kpis.*.events"},
	} {
		if diff := cmp.Diff(want, template(t, text).Filters()); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestSubjectTemplateFaults(t *testing.T) {
	for text, want := range map[string]string{
		"ml.{model}": "no {kind}", "ml.{kind}.{kind}": "twice", "ml..{kind}": "token 2", "ml.{kind}.*": "token 3", "ml.{kind}.{name}": "token 3", "": "token 1",
	} {
		if _, err := event.NewSubjectTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestSubjectOfAnEvent(t *testing.T) {
	st := template(t, event.DefaultSubjects)
	for want, e := range map[string]event.Event{
		"ml.predictions.fraud.1_10":   {Kind: event.Prediction, Model: "fraud", Version: "1.10"},
		"ml.predictions.fraud":        {Kind: event.Prediction, Model: "fraud"},
		"ml.outcomes.a_b_c":           {Kind: event.Outcome, Model: "a b>c", Version: "1"},
		"ml.kpis.checkout_conversion": {Kind: event.KPI, Name: "checkout conversion", Model: "fraud"},
		"ml.outcomes._":               {Kind: event.Outcome},
	} {
		got := st.Subject(&e)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if k, _, _, ok := st.Parse(got); !ok || k != e.Kind {
			t.Errorf("%s does not parse", got)
		}
	}
}

func TestToken(t *testing.T) {
	for name, want := range map[string]string{"fraud-v1_X": "fraud-v1_X", "": "_", "a.b*c>d e": "a_b_c_d_e", "größe": "gr__e", "\xff": "_"} {
		if got := event.Token(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestPayloadMustAgreeWithSubject(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	const prediction, outcome, kpi = `{"id":"a","model":"m.1","prediction":1}`, `{"prediction_id":"p","name":"label","label":1}`, `{"name":"n","value":1,"model":"m"}`
	for _, c := range []struct {
		name, subject, data string
		kind                event.Kind
		want                event.Reason
	}{
		{"agrees", "ml.predictions.m_1.7", prediction, event.Prediction, ""},
		{"agrees, kind from the subject", "ml.predictions.m_1", prediction, 0, ""},
		{"differs", "ml.predictions.m1", prediction, event.Prediction, event.SubjectMismatch},
		{"unsanitised differs", "ml.predictions.m.1", prediction, event.Prediction, event.SubjectMismatch},
		{"subject of another template", "x.y.z", prediction, event.Prediction, ""},
		{"no subject", "", prediction, event.Prediction, ""},
		{"no kind at all", "x.y.z", prediction, 0, event.Schema},
		{"unknown kind", "ml.predictions.m_1", prediction, 9, event.Schema},
		{"outcome without model", "ml.outcomes.m", outcome, 0, ""},
		{"kpi by name", "ml.kpis.n", kpi, 0, ""},
		{"kpi by model", "ml.kpis.m", kpi, 0, event.SubjectMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			r := d.Decode(&b, c.kind, c.subject, []byte(c.data))
			if got := reason(r); got != c.want {
				t.Errorf("got %v, want %q", r, c.want)
			}
		})
	}
	var b event.Batch
	d.SetSubjects(template(t, "{model}.{kind}"))
	if r := d.Decode(&b, 0, "m_1.predictions", []byte(prediction)); r != nil {
		t.Error(r)
	}
	if r := d.Decode(&b, 0, "ml.predictions.m_1", []byte(prediction)); r == nil {
		t.Error("the old template still holds")
	}
}

func reason(r *event.Reject) event.Reason {
	if r == nil {
		return ""
	}
	return r.Reason
}

func TestNames(t *testing.T) {
	for k := event.Prediction; k <= event.KPI; k++ {
		if got, ok := event.ParseKind(k.String()); !ok || got != k {
			t.Errorf("kind %v", k)
		}
	}
	for v := event.Primary; v <= event.Shadow; v++ {
		if got, ok := event.ParseVariant(v.String()); !ok || got != v {
			t.Errorf("variant %v", v)
		}
	}
	for a := event.Count; a <= event.Drop; a++ {
		if got, ok := event.ParseAction(a.String()); !ok || got != a {
			t.Errorf("action %v", a)
		}
	}
	if _, ok := event.ParseKind("unknown"); ok {
		t.Error("kind unknown")
	}
	if _, ok := event.ParseVariant(""); ok {
		t.Error("variant of nothing")
	}
	if _, ok := event.ParseAction(""); ok {
		t.Error("action of nothing")
	}
	for _, s := range []string{event.Kind(0).String(), event.Variant(9).String(), event.Action(9).String(), event.ValueKind(9).String()} {
		if s != "unknown" {
			t.Errorf("got %s", s)
		}
	}
	if got := event.Invalid.String(); got != "invalid" {
		t.Error(got)
	}
	if len(event.Reasons()) != 9 { // contract section 2 names nine
		t.Error(event.Reasons())
	}
}
