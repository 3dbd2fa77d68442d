package incident

import (
	"encoding/json"
	"slices"

	"driftd.dev/driftd/pkg/ledger"
)

// An Explained is an alert, as the newest ledger entry with an Explanation has it.
type Explained struct {
	Seq   uint64 // of the entry
	Alert ledger.Alert
}

// Explain returns those of some alerts of which entries say why, the leading one first
// (Member.Compare). Entries are in the order of the ledger; those of other alerts,
// and what cannot be read, are passed over.
func Explain(members []Member, entries []ledger.Entry) (out []Explained) {
	said := map[string]Explained{}
	for _, e := range entries {
		var a ledger.Alert
		if e.Kind == ledger.KindAlert && json.Unmarshal(e.Body, &a) == nil && a.Explanation != nil {
			said[a.DedupKey] = Explained{e.Seq, a}
		}
	}
	ranked := slices.Clone(members)
	slices.SortFunc(ranked, func(a, b Member) int { return a.Compare(&b) })
	for k := range ranked {
		if x, ok := said[ranked[k].Key]; ok {
			out = append(out, x)
		}
	}
	return out
}
