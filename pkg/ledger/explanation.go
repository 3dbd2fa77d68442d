package ledger

import "time"

// Bounds of an Explanation: it is part of the entry, and entries are many.
const (
	MostShares = 5  // cells, versions, segments and occurrences, each
	MostCells  = 32 // of a Histogram
	mostLabel  = 60 // bytes of a name in it
)

// Where a change comes from, as far as the versions of a model tell.
const (
	OriginUpstream  = "upstream data" // every version moved alike
	OriginRelease   = "this release"  // one version brings it, and it began with that version's first traffic
	OriginUndecided = "undecided"
)

// An Explanation is what a person asks next about an alert: where in the signal,
// who brings it, what moved first and what else happened then. It is made of the
// counts of windows and of earlier entries, so a replay gives the same one.
type Explanation struct {
	Since    time.Time  `json:"since"`             // start of the first window of the change
	Signal   string     `json:"signal,omitempty"`  // that moved most; what follows is about it. "": none did
	Missing  bool       `json:"missing,omitempty"` // its values are missing: the cells are "missing" and "there"
	PSI      float64    `json:"psi,omitempty"`     // smoothed, not debiased, of the series of the alert: Cells are shares of it
	Cells    []Cell     `json:"cells,omitempty"`   // the greatest shares first, at most MostShares
	Compared *Histogram `json:"compared,omitempty"`

	// Of the PSI of the whole model, each at most MostShares, the greatest first.
	Versions []Share `json:"versions,omitempty"`
	Segments []Share `json:"segments,omitempty"`

	Origin  string       `json:"origin,omitempty"`  // OriginUpstream, OriginRelease or OriginUndecided
	Because string       `json:"because,omitempty"` // why, with the numbers
	First   *First       `json:"first,omitempty"`   // what moved before everything else
	Around  []Occurrence `json:"around,omitempty"`  // what else happened about then, the newest first, at most MostShares
}

// A Cell is a range of values or a category: its share of values in the reference
// and now, and its share of the PSI.
type Cell struct {
	Name  string  `json:"name"` // "10 to 20", "<= 10", "> 90", "DE", "(other)", "(unseen)", "missing" or "there"
	From  float64 `json:"from"` // share of values, 0 to 1
	To    float64 `json:"to"`
	Share float64 `json:"share"` // of the PSI, 0 to 1
}

// A Share is what one version or segment brings of the PSI of the whole model.
// Shares of all versions sum to 1, and so do those of all segments of one list:
// the PSI is sum over cells of (q - p) ln(q/p), and that of group g is the part
// sum of w (q_g - p) ln(q/p), where w is the weight of the group.
type Share struct {
	Name    string  `json:"name"` // version or segment; "(none)": events without the segment
	Variant string  `json:"variant,omitempty"`
	Weight  float64 `json:"weight"` // of the values, 0 to 1
	Share   float64 `json:"share"`  // of the PSI; below 0 if it moves the whole back, then others are above 1
	PSI     float64 `json:"psi"`    // debiased, of the group by itself
}

// A First is the signal or the rule in which a change began before all others.
type First struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

// An Occurrence is something that happened about when a change began.
type Occurrence struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`          // a few words
	Seq  uint64    `json:"seq,omitempty"` // of its ledger entry; 0: it has none
}

// A Histogram is one signal in the reference and now, coarse enough for a glance.
type Histogram struct {
	// Edges are the inner bounds of ascending cells of a number: the first reaches
	// from -Inf to Edges[0], the last from the last edge to +Inf. Empty with Names.
	Edges []float64 `json:"edges,omitempty"`
	Names []string  `json:"names,omitempty"` // of the cells, if they are no ranges
	From  []float64 `json:"from"`            // share of values in the reference, by cell
	To    []float64 `json:"to"`              // now
}

// Fits reports whether h can be read: as many shares as cells, at most MostCells,
// edges that ascend.
func (h *Histogram) Fits() bool {
	cells := len(h.Names)
	if cells == 0 {
		cells = len(h.Edges) + 1
	}
	for i := 1; i < len(h.Edges); i++ {
		if !(h.Edges[i-1] < h.Edges[i]) {
			return false
		}
	}
	return cells <= MostCells && len(h.From) == cells && len(h.To) == cells
}

// Label cuts a name to what an Explanation holds of it.
func Label(name string) string {
	if len(name) <= mostLabel {
		return name
	}
	end := mostLabel
	for end > 0 && name[end]&0xC0 == 0x80 { // not inside of a character
		end--
	}
	return name[:end] + "…"
}
