package daemon_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
)

const releasedAt = 70 * time.Minute

// released is a model whose version 2 begins at releasedAt with a fifth of the
// traffic. amount shifts by a deviation from then on: in that version, or in both.
func released(version string) sim.Scenario {
	s := calibrated()
	s.Length = 2 * time.Hour
	m := &s.Models[0]
	m.Rate = 4
	m.Versions = []sim.Version{{Name: "1", Share: .8}, {Name: "2", Share: .2}}
	m.Segments = []sim.Feature{{Name: "channel", Categories: []sim.Category{{Name: "app", Weight: 1}, {Name: "web", Weight: 1}}}}
	s.Injections = []sim.Injection{
		{Model: "fraud", Version: "2", Effect: sim.Silence, To: releasedAt},
		{Model: "fraud", Version: version, Feature: "amount", Effect: sim.Shift, Amount: 1, From: releasedAt},
	}
	return s
}

// explained runs a daemon over the first hour, one with another configuration, and
// after another restart one over the rest, and returns the first alert on amount.
func explained(t *testing.T, s sim.Scenario, with func(daemon.Options) daemon.Options) ledger.Alert {
	t.Helper()
	w := emptyWorld(t, s)
	st := open(t, t.TempDir())
	defer st.Close()
	for i, span := range [][2]time.Duration{{0, time.Hour}, {time.Hour, time.Hour + time.Minute}, {time.Hour + time.Minute, s.Length}} {
		o := w.options(st)
		o.Spec.Models = []drift.ModelSpec{{Glob: "*", Segments: [][]string{{"channel"}}}}
		if i > 0 {
			o.ConfigHash = "second"
		}
		d, stop := w.start(with(o))
		if i == 0 {
			if err := d.ImportBaseline(t.Context(), w.baselines()[0], nil, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		w.publishSpan(span[0], span[1])
		w.caughtUp(d)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	all := driftOf(t, st)
	i := slices.IndexFunc(all, func(a ledger.Alert) bool { return a.Status == "firing" && a.Feature == "amount" })
	if i < 0 {
		t.Fatalf("no alert on amount: %+v", all)
	}
	if all[i].Explanation == nil {
		t.Fatal("the alert has no explanation")
	}
	return all[i]
}

func asItIs(o daemon.Options) daemon.Options { return o }

// A version that brings a shift with its first traffic is the release's, and the
// configuration that was loaded before is there to see, also after a restart.
func TestAlertsSayThatAReleaseMovedThem(t *testing.T) {
	s := released("2")
	a := explained(t, s, asItIs)
	e := a.Explanation
	began := s.Start.Add(releasedAt)
	if a.ModelVersion != "2" || e.Signal != "amount" || !e.Since.Equal(began) || e.First == nil || e.First.Name != "amount" || !e.First.Since.Equal(began) {
		t.Errorf("alert on version %s, %+v, first %+v, want amount since %v", a.ModelVersion, e, e.First, began)
	}
	if e.Origin != ledger.OriginRelease || !strings.Contains(e.Because, "version 2 brings") {
		t.Errorf("from %s because %s", e.Origin, e.Because)
	}
	checkShares(t, e.Versions, "2")
	checkShares(t, e.Segments, "channel=")
	if len(e.Cells) == 0 || len(e.Cells) > ledger.MostShares || e.Cells[0].Share < e.Cells[len(e.Cells)-1].Share || e.PSI < .1 {
		t.Errorf("cells %+v of %v", e.Cells, e.PSI)
	}
	if e.Compared == nil || !e.Compared.Fits() || len(e.Compared.From) < 8 {
		t.Errorf("histogram %+v", e.Compared)
	}
	var what []string
	for _, o := range e.Around {
		what = append(what, o.What)
	}
	if got := strings.Join(what, "; "); !strings.HasPrefix(got, "first traffic of version 2, ") || !strings.Contains(got, "configuration loaded by start") {
		t.Errorf("around: %s", got)
	}
	if n := len(e.Around); e.Around[n-1].Seq == 0 || !e.Around[0].At.Equal(began) {
		t.Errorf("around %+v", e.Around)
	}
}

// When the old version moves as the new one does, it is the data.
func TestAlertsSayThatTheDataMovedThem(t *testing.T) {
	e := explained(t, released(""), asItIs).Explanation
	if e.Origin != ledger.OriginUpstream || e.Because != "both versions moved alike" {
		t.Errorf("from %s because %s", e.Origin, e.Because)
	}
}

// Where values are missing it is said, and not what is left of them.
func TestMissingValuesAreExplained(t *testing.T) {
	s := released("")
	s.Injections[1].Effect, s.Injections[1].Amount = sim.Nulls, .6
	a := explained(t, s, func(o daemon.Options) daemon.Options {
		rule, err := alert.Compile(alert.Spec{Name: "Lost", Window: 5 * time.Minute, Feature: "amount", Expr: "missing_ratio > 0.3", Severity: "page"})
		if err != nil {
			t.Fatal(err)
		}
		o.Rules = []*alert.Rule{rule}
		return o
	})
	e := a.Explanation
	if !e.Missing || e.Cells[0].Name != "missing" || e.Cells[0].To < .4 || e.Compared == nil || !e.Compared.Fits() || e.Compared.Names[0] != "missing" {
		t.Errorf("explanation %+v, drawn %+v", e, e.Compared)
	}
	if e.Origin != ledger.OriginUpstream {
		t.Errorf("from %s because %s", e.Origin, e.Because)
	}
}

// checkShares wants shares that sum to 1, and the first of this name.
func checkShares(t *testing.T, shares []ledger.Share, first string) {
	t.Helper()
	sum, weight := 0.0, 0.0
	for _, s := range shares {
		sum, weight = sum+s.Share, weight+s.Weight
	}
	if len(shares) != 2 || !strings.HasPrefix(shares[0].Name, first) || sum < .999 || sum > 1.001 || weight < .999 || weight > 1.001 {
		t.Errorf("shares %+v", shares)
	}
}

// Drift within a budget is explained like a rule's alert.
func TestDriftIsExplained(t *testing.T) {
	w := newWorld(t, calibrated())
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	defer st.Close()
	if err := w.run(within(w.options(st), w)); err != nil {
		t.Fatal(err)
	}
	all := driftOf(t, st)
	opened, resolved := all[0], all[1]
	e := opened.Explanation
	if e == nil || resolved.Explanation != nil {
		t.Fatalf("opened with %+v, resolved with %+v", e, resolved.Explanation)
	}
	if e.Signal != "amount" || !e.Since.Equal(opened.Findings[0].Since) || e.First.Name != "amount" || e.Compared == nil || len(e.Cells) == 0 {
		t.Errorf("explanation %+v", e)
	}
	if e.Origin != ledger.OriginUpstream || !strings.Contains(e.Because, "only version 1 served") || len(e.Versions) != 1 || e.Segments != nil {
		t.Errorf("from %s because %s, versions %+v, segments %+v", e.Origin, e.Because, e.Versions, e.Segments)
	}
}

// Of a window in which everything moves the first alerts are explained.
func TestExplanationsAreBounded(t *testing.T) {
	s := released("")
	s.Length = 100 * time.Minute
	m := &s.Models[0]
	m.Versions = m.Versions[:1]
	s.Injections = s.Injections[:0]
	for i := range 30 {
		name := "x" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		m.Features = append(m.Features, sim.Feature{Name: name, Dist: sim.Normal{Sigma: 1}})
		s.Injections = append(s.Injections, sim.Injection{Model: "fraud", Feature: name, Effect: sim.Shift, Amount: 2, From: releasedAt})
	}
	w := newWorld(t, s)
	st := open(t, t.TempDir())
	defer st.Close()
	if err := w.run(w.options(st)); err != nil {
		t.Fatal(err)
	}
	byWindow := map[time.Time][2]int{}
	for _, a := range driftOf(t, st) {
		n := byWindow[a.Window.End]
		if n[0]++; a.Explanation != nil {
			n[1]++
		}
		byWindow[a.Window.End] = n
	}
	most := [2]int{}
	for _, n := range byWindow {
		if n[0] > most[0] {
			most = n
		}
	}
	if most[0] < 30 || most[1] != 20 {
		t.Errorf("%d alerts in one window, %d of them explained, want 30 or more and 20", most[0], most[1])
	}
}
