package drift

import (
	"fmt"
	"maps"
	"strings"

	"driftd.dev/driftd/pkg/event"
)

// An Account is the books of the stream: what became of every message and of
// every event in them. It is persisted with the cursor, so that kill -9 changes
// no number, and it always balances:
//
//	past + committed - first + 1 = accepted + invalid + oversize + filtered + gap
//	decoded                      = counted + duplicate + late + future + unconfigured + limit
type Account struct {
	First    uint64                   `json:"first"` // first sequence consumed in this epoch, 0 before it
	Past     uint64                   `json:"past"`  // messages of earlier epochs, which began their sequences anew
	Accepted uint64                   `json:"accepted"`
	Invalid  uint64                   `json:"invalid"`
	Oversize uint64                   `json:"oversize"`
	Filtered uint64                   `json:"filtered"`
	Gap      uint64                   `json:"gap"`
	Decoded  uint64                   `json:"decoded"`
	Refused  map[event.Reason]uint64  `json:"refused,omitempty"` // messages, and rows of accepted ones, by reason
	Models   map[string]*ModelAccount `json:"models,omitempty"`  // "" for events of no model
}

// A ModelAccount counts the events of one model by kind and outcome.
type ModelAccount [event.KPI][OverLimit + 1]uint64

// Count books one decoded event. The events of models that are not followed
// are booked together under Other, since their names are without bound.
func (a *Account) Count(model string, kind event.Kind, o Outcome) {
	a.Decoded++
	if o == Unconfigured || o == OverLimit {
		model = Other
	}
	m := a.Models[model]
	if m == nil {
		if a.Models == nil {
			a.Models = map[string]*ModelAccount{}
		}
		m = &ModelAccount{}
		a.Models[strings.Clone(model)] = m // the name aliases its message
	}
	m[kind-1][o]++
}

// Turn closes the books of an epoch whose last sequence was committed, and
// opens those of one that begins at first.
func (a *Account) Turn(committed, first uint64) {
	if a.First != 0 {
		a.Past += committed - a.First + 1
	}
	a.First = first
}

// Refuse books a refusal by its reason.
func (a *Account) Refuse(r event.Reason) {
	if a.Refused == nil {
		a.Refused = map[event.Reason]uint64{}
	}
	a.Refused[r]++
}

// Total returns the events of all models with one outcome.
func (a *Account) Total(o Outcome) (n uint64) {
	for _, m := range a.Models {
		for kind := range m {
			n += m[kind][o]
		}
	}
	return n
}

// Clone returns a copy that shares nothing.
func (a *Account) Clone() *Account {
	out := *a
	out.Refused, out.Models = map[event.Reason]uint64{}, map[string]*ModelAccount{}
	maps.Copy(out.Refused, a.Refused)
	for name, m := range a.Models {
		c := *m
		out.Models[name] = &c
	}
	return &out
}

// Balance checks both laws against the last sequence committed; 0 for none.
func (a *Account) Balance(committed uint64) error {
	messages := a.Past
	if a.First != 0 {
		messages += committed - a.First + 1
	}
	if sum := a.Accepted + a.Invalid + a.Oversize + a.Filtered + a.Gap; sum != messages {
		return fmt.Errorf("messages do not balance: %d..%d are %d, but accepted %d + invalid %d + oversize %d + filtered %d + gap %d = %d",
			a.First, committed, messages, a.Accepted, a.Invalid, a.Oversize, a.Filtered, a.Gap, sum)
	}
	var events uint64
	for o := Counted; o <= OverLimit; o++ {
		events += a.Total(o)
	}
	if events != a.Decoded {
		return fmt.Errorf("events do not balance: decoded %d, but the outcomes sum to %d", a.Decoded, events)
	}
	return nil
}
