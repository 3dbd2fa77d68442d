package ledger_test

import (
	"testing"

	"driftd.dev/driftd/pkg/ledger"
)

// A delivery speaks of the first alert of its group, and without one of its entry.
func TestLead(t *testing.T) {
	d := ledger.Delivery{Entry: ledger.Entry{Seq: 7}}
	if got := d.Lead().Seq; got != 7 || d.Group.Open() {
		t.Errorf("entry %d, open %v", got, d.Group.Open())
	}
	for _, alerts := range [][]ledger.Entry{{{Seq: 3}}, {{Seq: 3}, {Seq: 7}}} {
		d.Group = &ledger.Group{Status: "firing", Alerts: alerts}
		if got := d.Lead().Seq; got != 3 || !d.Group.Open() {
			t.Errorf("entry %d of a group, open %v", got, d.Group.Open())
		}
	}
}
