package notify_test

import (
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	silent := ledger.Alert{
		Status: "firing", Rule: "Silence", Model: "llm", Severity: "ticket", StartsAt: at,
		Window: ledger.Window{Start: at, End: at.AddDate(0, 0, 1)}, Reason: "events 0 == 0",
	}
	still := resolved()
	still.EndsAt, still.Evidence.Peak, still.Feature, still.Segment = nil, "", "", ""
	superseded := ledger.Alert{
		Status: "resolved", Rule: "ModelDrift", Model: "fraud", Severity: "page", Change: "superseded", StartsAt: at.AddDate(0, 0, -7), EndsAt: &at, Detectable: .2,
		Window: ledger.Window{Start: at.Add(-time.Hour), End: at}, Reason: "superseded by a new incident: age moved up; it is 01AFS",
	}
	suppressed := rollback()
	suppressed.ToVersion, suppressed.Suppressed = "", "no other version had traffic."
	for name, c := range map[string]struct {
		kind            ledger.Kind
		body            any
		title, sentence string
	}{
		"a feature moved": {
			ledger.KindAlert, fired(), "Page: AmountDrift on fraud/amount",
			"amount of fraud version 42, canary, segment channel=app moved: psi_debiased 0.31 > 0.1, n 5000 >= 1000 in the window 2026-01-01 10:00 to 11:00 UTC, firing since 2026-01-01 11:00 UTC.",
		},
		"a feature recovered": {
			ledger.KindAlert, resolved(), "Resolved: AmountDrift on fraud/amount",
			"amount of fraud version 42, canary, segment channel=app is back to normal since 2026-01-01 13:00 UTC, after 2h: psi_debiased 0.01 < 0.05 in the window 2026-01-01 10:00 to 11:00 UTC; at its worst psi_debiased 0.4 > 0.1.",
		},
		"a model recovered, times unknown": {
			ledger.KindAlert, still, "Resolved: AmountDrift on fraud",
			"Model fraud version 42, canary is back to normal: psi_debiased 0.01 < 0.05 in the window 2026-01-01 10:00 to 11:00 UTC.",
		},
		"a model is silent, for a day": {
			ledger.KindAlert, silent, "Ticket: Silence on llm",
			"Model llm breaks rule Silence: events 0 == 0 in the window 2026-01-01 10:00 to 2026-01-02 10:00 UTC, firing since 2026-01-01 10:00 UTC.",
		},
		"a later change is an incident of its own": {
			ledger.KindAlert, superseded, "Superseded: drift of fraud",
			"The incident of model fraud that was open since 2025-12-25 10:00 UTC ends, and the drift goes on: superseded by a new incident: age moved up; it is 01AFS in the window 2026-01-01 09:00 to 10:00 UTC.",
		},
		"retrain": {
			ledger.KindRetrain, retrain(), "Retrain fraud",
			"Model fraud version 42 should be trained again: AmountDrift fired; data: ML 1 to 99 (2026-01-01 10:00 to 2026-01-02 12:00 UTC), 812 labels.",
		},
		"rollback": {
			ledger.KindRollback, rollback(), "Roll back fraud to 42",
			"Traffic of fraud should return from version 43 to version 42: errors 0.2 > 0.05, on 4100 predictions against 37000.",
		},
		"promote": {
			ledger.KindPromote, rollback(), "Promote fraud to 42",
			"Traffic of fraud should move on from version 43 to version 42: errors 0.2 > 0.05, on 4100 predictions against 37000.",
		},
		"rollback to nowhere": {
			ledger.KindRollback, suppressed, "Roll back fraud (no signal sent)",
			"Traffic of fraud should return from version 43 to version -: errors 0.2 > 0.05, on 4100 predictions against 37000. No signal was sent: no other version had traffic.",
		},
		"baseline": {
			ledger.KindBaseline, kinds()[ledger.KindBaseline], "Baseline of fraud: approved",
			"Baseline b1 of model fraud: approved by ann; 10 rows from import, now approved.",
		},
		"config":  {ledger.KindConfig, kinds()[ledger.KindConfig], "Configuration loaded", "Configuration sha256:ab was loaded by start."},
		"silence": {ledger.KindSilence, kinds()[ledger.KindSilence], "Maintenance 01K: created", `Maintenance 01K of model="fraud" severity=page was created by ann: A new shop.`},
		"epoch":   {ledger.KindEpoch, kinds()[ledger.KindEpoch], "Stream ML: gap", "Stream ML is in epoch 2 because of gap: messages 5 to 9."},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := notify.Describe(delivery(t, c.kind, c.body).Entry, "https://driftd.example/")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.title, c.sentence}, []string{m.Title, m.Sentence}); diff != "" {
				t.Error(diff)
			}
			if want := "https://driftd.example/ledger/812"; m.Link != want {
				t.Errorf("link %s, want %s", m.Link, want)
			}
		})
	}
}

func TestDescribeListsWhatTheReasonUsedFirst(t *testing.T) {
	m, err := notify.Describe(delivery(t, ledger.KindAlert, fired()).Entry, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []notify.Field{{Name: "n", Value: "5000"}, {Name: "psi_debiased", Value: "0.3126"}, {Name: "mean", Value: "73.1"}}
	if diff := cmp.Diff(want, m.Values); diff != "" {
		t.Error(diff)
	}
	if m.Link != "" {
		t.Errorf("link %q without an external URL", m.Link)
	}
}

func TestDurationsAreShort(t *testing.T) {
	for after, want := range map[string]string{"2h": "after 2h:", "90m": "after 1h30m:", "45s": "after 45s:", "30m": "after 30m:"} {
		a := resolved()
		d, err := time.ParseDuration(after)
		if err != nil {
			t.Fatal(err)
		}
		end := a.StartsAt.Add(d)
		a.EndsAt = &end
		m, err := notify.Describe(delivery(t, ledger.KindAlert, a).Entry, "")
		if err != nil || !strings.Contains(m.Sentence, want) {
			t.Errorf("%s: %q, %v", after, m.Sentence, err)
		}
	}
}

func TestNotifies(t *testing.T) {
	want := map[ledger.Kind]bool{ledger.KindAlert: true, ledger.KindRetrain: true, ledger.KindRollback: true, ledger.KindPromote: true}
	for kind := range kinds() {
		if got := notify.Notifies(ledger.Entry{Kind: kind}); got != want[kind] {
			t.Errorf("%s: %v, want %v", kind, got, want[kind])
		}
	}
}
