package incident_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// The leading alert comes first, each by the newest entry that explains it; ends and
// entries of others say nothing.
func TestExplain(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	entry := func(seq uint64, kind ledger.Kind, key, because string) ledger.Entry {
		a := ledger.Alert{DedupKey: key}
		if because != "" {
			a.Explanation = &ledger.Explanation{Because: because}
		}
		body, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return ledger.Entry{Seq: seq, Kind: kind, Body: body}
	}
	members := []incident.Member{
		{Key: "ended", Severity: "page", StartsAt: at, EndsAt: at.Add(time.Hour), Seq: 9},
		{Key: "later", Severity: "ticket", StartsAt: at.Add(time.Hour)},
		{Key: "page", Severity: "page", StartsAt: at.Add(2 * time.Hour)},
		{Key: "silent", Severity: "page", StartsAt: at},
		{Key: "ticket", Severity: "ticket", StartsAt: at},
	}
	entries := []ledger.Entry{
		entry(1, ledger.KindAlert, "ended", "one"), entry(2, ledger.KindAlert, "ticket", "two"), entry(3, ledger.KindAlert, "later", "three"), entry(4, ledger.KindAlert, "page", "four"),
		entry(5, ledger.KindAlert, "other", "five"), entry(6, ledger.KindAlert, "ticket", "six"), entry(7, ledger.KindNote, "page", "seven"), entry(8, ledger.KindAlert, "silent", ""),
		entry(9, ledger.KindAlert, "ended", ""),
		{Seq: 10, Kind: ledger.KindAlert, Body: []byte("[")},
	}
	got := ""
	for _, x := range incident.Explain(members, entries) {
		got += fmt.Sprintf("%s %d %s; ", x.Alert.DedupKey, x.Seq, x.Alert.Explanation.Because)
	}
	if want := "page 4 four; ticket 6 six; later 3 three; ended 1 one; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if members[0].Key != "ended" {
		t.Error("the members were put into another order")
	}
}
