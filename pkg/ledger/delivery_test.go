package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// owed reads deliveries from "seq order flags": "w" waits, "f" has failed
// before, "t" is told and has the receipt r<seq>.
func owed(t *testing.T, now time.Time, text string) []ledger.Delivery {
	t.Helper()
	var out []ledger.Delivery
	for line := range strings.Lines(text) {
		var d ledger.Delivery
		var flags string
		if n, err := fmt.Sscan(line, &d.Seq, &d.Order, &flags); n < 2 {
			t.Fatalf("%q: %v", line, err)
		}
		d.Order = strings.Trim(d.Order, "-")
		for _, f := range flags {
			switch f {
			case 'w':
				d.NextAt = now.Add(time.Second)
			case 'f':
				d.Attempt = 3
			case 't':
				d.Told, d.Receipt = true, fmt.Sprint("r", d.Seq)
			}
		}
		out = append(out, d)
	}
	return out
}

// shown writes deliveries as "seq", "seq<earlier,earlier" or "seq=receipt"; "!"
// marks the unheard.
func shown(due []ledger.Delivery) string {
	var out []string
	for _, d := range due {
		s := fmt.Sprint(d.Seq)
		for i, e := range d.Earlier {
			s += []string{"<", ","}[min(i, 1)] + fmt.Sprint(e.Seq)
		}
		if d.Receipt != "" {
			s += "=" + d.Receipt
		}
		if d.Unheard() {
			s += "!"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestDue(t *testing.T) {
	now := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		owed         string
		limit        int
		each, latest string // want
	}{
		"nothing":                     {"", 9, "", ""},
		"orders are lines":            {"1 a w\n2 b\n3 a\n4 -\n5 - w\n6 -\n7 b", 9, "2 4 6 7", "4 6 7<2!"},
		"limit":                       {"1 a\n2 b\n3 c", 2, "1 2", "1 2"},
		"tried before, nothing newer": {"1 a f", 9, "1", "1"},
		"newer than what failed":      {"1 a f\n2 b\n3 a", 9, "1 2 3", "2 3<1!"},
		"newer than two that failed":  {"1 a f\n2 a f\n3 a", 9, "1 2 3", "3<1,2!"},
		"newer than what was not":     {"1 a\n2 a", 9, "1 2", "2<1!"},
		"the newer waits":             {"1 a f\n2 a w\n3 b", 9, "1 3", "3"},
		"the newer waits, limit":      {"1 a f\n2 b\n3 a w\n4 c", 2, "1 2", "2 4"},
		"the failed waits":            {"1 a fw\n2 a", 9, "", ""},
		"told":                        {"1 a t\n2 b", 9, "2", "2"},
		"told, then newer":            {"1 a t\n2 a", 9, "2<1=r1", "2<1=r1"},
		"told, failed, newer":         {"1 a t\n2 a f\n3 a", 9, "2<1=r1 3<1=r1", "3<1,2=r1"},
	} {
		t.Run(name, func(t *testing.T) {
			all := owed(t, now, c.owed)
			if got := shown(ledger.Due(slices.Values(all), now, c.limit, false)); got != c.each {
				t.Errorf("each: %q, want %q", got, c.each)
			}
			if got := shown(ledger.Due(slices.Values(all), now, c.limit, true)); got != c.latest {
				t.Errorf("latest: %q, want %q", got, c.latest)
			}
		})
	}
}

// Who hears in the place of several receivers hears at the earliest time, of all.
func TestDueInPlaceOfOthers(t *testing.T) {
	now := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	all := []ledger.Delivery{
		{Seq: 1, Order: "a", Grouped: true, For: []string{"pager"}, NotBefore: now.Add(time.Minute)},
		{Seq: 2, Order: "a", Grouped: true, For: []string{"chat"}, NotBefore: now.Add(time.Hour)},
	}
	if due := ledger.Due(slices.Values(all), now, 9, true); len(due) > 0 {
		t.Errorf("due early: %+v", due)
	}
	ended := append(slices.Clone(all[1:]), ledger.Delivery{Seq: 3, Order: "a", Grouped: true, For: []string{"pager"}})
	if due := ledger.Due(slices.Values(ended), now.Add(time.Minute), 9, true); len(due) > 0 {
		t.Errorf("the end of another is due before the beginning: %+v", due)
	}
	ended = append([]ledger.Delivery{{Seq: 0, Order: "a", Grouped: true, Told: true, For: []string{"chat"}}}, all...)
	if due := ledger.Due(slices.Values(ended), now, 9, true); len(due) != 1 {
		t.Errorf("who has heard is due %+v, want all at once", due)
	}
	due := ledger.Due(slices.Values(all), now.Add(time.Minute), 9, true)
	if len(due) != 1 || due[0].Seq != 2 || !slices.Equal(due[0].For, []string{"chat", "pager"}) {
		t.Errorf("due %+v, want the last, in the place of both", due)
	}
	if !slices.Equal(all[1].For, []string{"chat"}) {
		t.Errorf("what was given is %+v now", all[1])
	}
}

// What takes the place of another goes on with its patience.
func TestDueKeepsAttempts(t *testing.T) {
	now := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	due := ledger.Due(slices.Values(owed(t, now, "1 a f\n2 a")), now, 9, true)
	if len(due) != 1 || due[0].Attempt != 3 {
		t.Errorf("due %+v, want 3 attempts", due)
	}
}

// TestDueOfAGroup: what is told of an incident waits as its Timing says, all times
// after ten.
func TestDueOfAGroup(t *testing.T) {
	ten := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	timing := ledger.Timing{Wait: 30 * time.Second, Interval: 5 * time.Minute, Repeat: 4 * time.Hour}
	owed := func(seq uint64, issued time.Duration, severity string) ledger.Delivery {
		return ledger.Delivery{Seq: seq, Order: "i", Grouped: true, Timing: timing, Severity: severity, IssuedAt: ten.Add(issued)}
	}
	told := func(change ...func(*ledger.Delivery)) ledger.Delivery {
		d := owed(1, 0, "ticket")
		d.Told, d.ToldAt = true, ten
		for _, f := range change {
			f(&d)
		}
		return d
	}
	for name, c := range map[string]struct {
		all    []ledger.Delivery
		at     time.Duration // from which on it is due; -1: never
		repeat bool
	}{
		"the first waits for others":               {all: []ledger.Delivery{owed(1, 0, "ticket")}, at: 30 * time.Second},
		"the wait is that of the first":            {all: []ledger.Delivery{owed(1, 0, "ticket"), owed(2, 20*time.Second, "page")}, at: 30 * time.Second},
		"the next after the interval":              {all: []ledger.Delivery{told(), owed(2, time.Minute, "ticket")}, at: 5 * time.Minute},
		"what is less too":                         {all: []ledger.Delivery{told(), owed(2, time.Minute, "info")}, at: 5 * time.Minute},
		"what is worse does not wait":              {all: []ledger.Delivery{told(), owed(2, 0, "page")}, at: 0},
		"an interval that is over":                 {all: []ledger.Delivery{told(), owed(2, time.Hour, "ticket")}, at: time.Hour + 30*time.Second},
		"the same again":                           {all: []ledger.Delivery{told()}, at: 4 * time.Hour, repeat: true},
		"never again":                              {all: []ledger.Delivery{told(func(d *ledger.Delivery) { d.Timing.Repeat = 0 })}, at: -1},
		"nothing fires any more":                   {all: []ledger.Delivery{told(func(d *ledger.Delivery) { d.Closing = true })}, at: -1},
		"again, and the receiver asks to wait":     {all: []ledger.Delivery{told(func(d *ledger.Delivery) { d.NextAt = ten.Add(5 * time.Hour) })}, at: 5 * time.Hour, repeat: true},
		"something was muted when it was told":     {all: []ledger.Delivery{told(func(d *ledger.Delivery) { d.Held = []string{"a"} })}, at: 0},
		"its own is not earlier than it says":      {all: []ledger.Delivery{{Seq: 1, Order: "i", Grouped: true, NotBefore: ten.Add(time.Hour)}}, at: time.Hour},
		"its own goes before what is for others":   {all: []ledger.Delivery{{Seq: 1, Order: "i", For: []string{"pager"}, NotBefore: ten.Add(time.Hour)}, {Seq: 2, Order: "i"}}, at: 0},
		"what is for others has its earliest time": {all: []ledger.Delivery{{Seq: 1, Order: "i", For: []string{"pager"}, NotBefore: ten.Add(time.Hour)}}, at: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			due := func(after time.Duration) []ledger.Delivery {
				return ledger.Due(slices.Values(c.all), ten.Add(after), 9, true)
			}
			if c.at < 0 {
				if got := due(1000 * time.Hour); len(got) > 0 {
					t.Errorf("due %+v, want nothing", got)
				}
				return
			}
			if got := due(c.at - 1); c.at > 0 && len(got) > 0 {
				t.Errorf("before %v: due %+v", c.at, got)
			}
			got := due(c.at)
			if len(got) != 1 || got[0].Seq != c.all[len(c.all)-1].Seq || got[0].Repeat != c.repeat {
				t.Errorf("at %v: due %+v, want the last, a repetition: %v", c.at, got, c.repeat)
			}
		})
	}
}

// TestUnheardOfAGroup: a receiver hears of an incident for the first time until it has
// confirmed something of it.
func TestUnheardOfAGroup(t *testing.T) {
	first := ledger.Delivery{Seq: 1, Order: "i", Grouped: true}
	told, next := first, first
	told.Told = true
	next.Seq = 2
	next.Earlier = []ledger.Delivery{first}
	again := next
	again.Earlier = []ledger.Delivery{first, told}
	for name, c := range map[string]struct {
		d    ledger.Delivery
		want bool
	}{
		"the first": {first, true}, "it is told": {told, false}, "in the place of one that was not": {next, true}, "behind one that was": {again, false},
	} {
		if got := c.d.Unheard(); got != c.want {
			t.Errorf("%s: unheard %v, want %v", name, got, c.want)
		}
	}
}
