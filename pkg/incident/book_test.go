package incident_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
)

var (
	start = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	fraud = map[string]string{"model": "fraud"}
)

// people and pager are who hears.
var (
	people = alert.Target{Receiver: "people", Timing: alert.Timing{Wait: time.Minute}}
	pager  = alert.Target{Receiver: "pager", Escalate: &alert.Escalation{After: time.Hour, Receiver: "boss"}}
)

func minute(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

// fires is an alert that starts in a minute.
func fires(key string, seq uint64, severity string, at int) incident.Member {
	return incident.Member{
		Key: key, Seq: seq, Model: "fraud", Severity: severity, StartsAt: minute(at), Labels: map[string]string{"model": "fraud", "feature": key, "owner": "risk"},
	}
}

func ends(m incident.Member, seq uint64, at int) incident.Member {
	m.Seq, m.EndsAt = seq, minute(at)
	return m
}

// put lets an alert of fraud go where the book places it.
func put(b *incident.Book, m incident.Member, at int, targets ...alert.Target) *incident.Incident {
	id := b.Of(m.Key)
	if id == "" {
		id = b.Place(fraud, false, m.Severity)
	}
	if id == "" {
		id = m.Key
	}
	return b.Put(id, fraud, false, m, minute(at), targets)
}

// told writes what is owed as "receiver:seq".
func told(touches []incident.Touch) string {
	var out []string
	for _, t := range touches {
		for _, o := range t.Owed {
			out = append(out, fmt.Sprintf("%s %s:%d", t.ID, o.Target.Receiver, o.Seq))
		}
	}
	return strings.Join(out, ", ")
}

// What happens to a model while something fires is one incident, and each receiver
// is owed one message about all of it.
func TestAnIncidentIsAllThatHappensToAModel(t *testing.T) {
	b := incident.NewBook(nil)
	a := fires("a", 1, alert.SeverityTicket, 0)
	put(b, a, 0, people)
	put(b, fires("b", 2, alert.SeverityPage, 0), 0, people, pager)
	put(b, fires("c", 3, alert.SeverityInfo, 1), 1, people)
	touches := b.Touched(start)
	if got := told(touches); got != "a pager:2, a people:3" {
		t.Errorf("owed %q", got)
	}
	i := touches[0].Incident
	if i.Firing() != 3 || i.Severity != alert.SeverityPage || !i.Opened.Equal(minute(0)) || !i.Issued.Equal(start) || !i.Open() || i.Seq != 3 {
		t.Errorf("incident %+v", i)
	}
	if got := b.Touched(start); len(got) != 0 {
		t.Errorf("touched again: %+v", got)
	}
	put(b, ends(a, 4, 5), 5, people)
	if m, firing := b.Firing("a"); firing {
		t.Errorf("%+v fires", m)
	}
	put(b, ends(fires("b", 2, alert.SeverityPage, 0), 5, 6), 6, people, pager)
	put(b, ends(fires("c", 3, alert.SeverityInfo, 1), 6, 7), 7, people)
	if i.Open() || !i.Resolved.Equal(minute(7)) || i.Ended != 3 {
		t.Errorf("at its end: %+v", i)
	}
	// What comes in the same pass is another matter.
	put(b, fires("d", 7, alert.SeverityTicket, 8), 8, people)
	if got := told(b.Touched(start)); got != "a pager:5, a people:6, d people:7" {
		t.Errorf("owed %q", got)
	}
	if open := b.Open(); len(open) != 1 || open[0].ID != "d" || !slices.Equal(b.Keys(), []string{"d"}) {
		t.Errorf("open %+v, keys %v", open, b.Keys())
	}
}

func TestPlace(t *testing.T) {
	for name, c := range map[string]struct {
		do       func(*incident.Book)
		group    map[string]string
		shadow   bool
		severity string
		want     string
	}{
		"its group":              {group: fraud, want: "a"},
		"another group":          {group: map[string]string{"model": "churn"}},
		"in shadow":              {group: fraud, shadow: true},
		"closed":                 {do: func(b *incident.Book) { b.Close("a") }, group: fraud},
		"acknowledged, a page":   {do: acknowledge, group: fraud, severity: alert.SeverityPage},
		"acknowledged, a ticket": {do: acknowledge, group: fraud, severity: alert.SeverityTicket, want: "a"},
		"ended":                  {do: func(b *incident.Book) { put(b, ends(fires("a", 1, "", 0), 2, 1), 1) }, group: fraud},
		"the last of two": {do: func(b *incident.Book) {
			b.Close("a")
			put(b, fires("b", 2, "", 1), 1)
		}, group: fraud, want: "b"},
	} {
		t.Run(name, func(t *testing.T) {
			b := incident.NewBook(nil)
			put(b, fires("a", 1, alert.SeverityTicket, 0), 0)
			if c.do != nil {
				c.do(b)
			}
			if got := b.Place(c.group, c.shadow, c.severity); got != c.want {
				t.Errorf("placed in %q, want %q", got, c.want)
			}
		})
	}
}

func acknowledge(b *incident.Book) { b.Acknowledge("a", incident.Acknowledgement{By: "ada"}, 2) }

// Models of one owner of which the same signal began to move at the same time.
func TestRelated(t *testing.T) {
	moved := func(at int, signals ...string) (out []incident.Moved) {
		for _, s := range signals {
			out = append(out, incident.Moved{Signal: s, Since: minute(at)})
		}
		return out
	}
	for name, c := range map[string]struct {
		owner string
		moved []incident.Moved
		do    func(*incident.Book)
		want  string
	}{
		"the same":       {"risk", moved(10, "zip", "amount"), nil, "a"},
		"a little later": {"risk", moved(13, "amount"), nil, "a"},
		"earlier":        {"risk", moved(6, "amount"), nil, ""},
		"another signal": {"risk", moved(10, "age"), nil, ""},
		"another owner":  {"growth", moved(10, "amount"), nil, ""},
		"no owner":       {"", moved(10, "amount"), nil, ""},
		"closed":         {"risk", moved(10, "amount"), func(b *incident.Book) { b.Close("a") }, ""},
		"the first of two": {"risk", moved(10, "amount"), func(b *incident.Book) {
			m := fires("b", 2, alert.SeverityPage, 11)
			m.Moved = moved(10, "amount")
			b.Put("b", map[string]string{"model": "churn"}, false, m, minute(11), nil)
		}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			b := incident.NewBook(nil)
			m := fires("a", 1, alert.SeverityPage, 10)
			m.Moved = moved(10, "amount")
			put(b, m, 10)
			if c.do != nil {
				c.do(b)
			}
			if got := b.Related(c.owner, c.moved, false, alert.SeverityPage, 3*time.Minute); got != c.want {
				t.Errorf("related to %q, want %q", got, c.want)
			}
		})
	}
}

// Who looks after an incident is told to all who were woken, at once.
func TestAcknowledge(t *testing.T) {
	b := incident.NewBook(nil)
	put(b, fires("a", 1, alert.SeverityPage, 0), 0, people, pager)
	b.Touched(start)
	if b.Acknowledge("b", incident.Acknowledgement{By: "ada"}, 2) {
		t.Error("an incident that is not there was acknowledged")
	}
	acknowledge(b)
	touches := b.Touched(minute(1))
	if got := told(touches); got != "a pager:2, a people:2" || touches[0].Owed[1].Target.Timing != (alert.Timing{}) {
		t.Errorf("owed %q by %+v", got, touches[0].Owed)
	}
	if i := touches[0].Incident; i.Acknowledged.By != "ada" || !i.Issued.Equal(start) {
		t.Errorf("incident %+v", i)
	}
}

// A book goes on after a restart as if there had been none.
func TestARestartChangesNothing(t *testing.T) {
	b := incident.NewBook(nil)
	m := fires("a", 1, alert.SeverityPage, 0)
	m.Moved = []incident.Moved{{Signal: "amount", Since: start}}
	put(b, m, 0, people, pager)
	put(b, fires("b", 2, alert.SeverityTicket, 1), 1, people)
	put(b, ends(fires("b", 2, alert.SeverityTicket, 1), 3, 2), 2, people)
	acknowledge(b)
	b.Touched(start)
	text, err := json.Marshal(b.Open())
	if err != nil {
		t.Fatal(err)
	}
	var stored []*incident.Incident
	if err := json.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	again := incident.NewBook(append(stored, &incident.Incident{ID: "old", Resolved: start}))
	if diff := cmp.Diff(b.Open(), again.Open(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	for _, book := range []*incident.Book{b, again} {
		put(book, ends(m, 4, 5), 5, pager)
	}
	if diff := cmp.Diff(b.Touched(start), again.Touched(start), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// What was handed out does not change with the book.
func TestOpenIsACopy(t *testing.T) {
	b := incident.NewBook(nil)
	put(b, fires("a", 1, alert.SeverityPage, 0), 0, people)
	before := b.Open()[0]
	acknowledge(b)
	put(b, ends(fires("a", 1, alert.SeverityPage, 0), 2, 1), 1, people)
	if !before.Open() || before.Acknowledged != nil || before.Firing() != 1 {
		t.Errorf("changed: %+v", before)
	}
}

// Memory is bounded whatever fires.
func TestAnIncidentIsBounded(t *testing.T) {
	b := incident.NewBook(nil)
	var first *incident.Incident
	for n := range 2500 {
		i := put(b, fires(fmt.Sprintf("%04d", n), uint64(n+1), alert.SeverityTicket, 0), 0, people)
		if first == nil {
			first = i
		}
	}
	if len(b.Open()) != 2 || first.Firing() != 2000 {
		t.Errorf("%d incidents, the first of %d alerts", len(b.Open()), first.Firing())
	}
	for n := range 1999 {
		put(b, ends(fires(fmt.Sprintf("%04d", n), 0, alert.SeverityTicket, 0), uint64(3000+n), 1), 1, people)
	}
	if len(first.Members) != 201 || first.Ended != 1999 || first.Firing() != 1 || first.Members[0].Key != "1799" {
		t.Errorf("%d members, %d ended, the first %s", len(first.Members), first.Ended, first.Members[0].Key)
	}
}

// Of a storm that ends, every receiver hears that nothing of its own fires any more.
func TestTheLastThatAReceiverHearsOfIsKept(t *testing.T) {
	b := incident.NewBook(nil)
	page := fires("page", 1, alert.SeverityPage, 0)
	i := put(b, page, 0, pager)
	for n := range 500 {
		put(b, fires(fmt.Sprintf("%04d", n), uint64(n+2), alert.SeverityTicket, 0), 0, people)
	}
	put(b, ends(page, 1000, 1), 1, pager)
	for n := range 500 {
		put(b, ends(fires(fmt.Sprintf("%04d", n), 0, alert.SeverityTicket, 0), uint64(2000+n), 1), 1, people)
	}
	if v := i.Of([]string{"pager"}, incident.Heard{Seq: 1}, nothingIsMuted); len(v.Ended) != 1 || !v.Fresh {
		t.Errorf("the pager hears of %+v", v)
	}
	if len(i.Members) != 200 || i.Open() {
		t.Errorf("%d members, open %v", len(i.Members), i.Open())
	}
}

// An alert that ends and starts again under its key, before anybody is told, fires.
func TestAnAlertThatStartsAgainFires(t *testing.T) {
	b := incident.NewBook(nil)
	m := fires("a", 1, alert.SeverityPage, 0)
	put(b, m, 0, people)
	put(b, ends(m, 2, 1), 1, people)
	m.Seq = 3
	i := put(b, m, 2, people)
	b.Touched(start)
	if _, firing := b.Firing("a"); !firing || !i.Open() {
		t.Errorf("firing %v, open %v", firing, i.Open())
	}
}

func TestGroupOf(t *testing.T) {
	labels := map[string]string{"model": "fraud", "alertname": "Drift"}
	for by, want := range map[string]map[string]string{
		"model": fraud, "model owner": fraud, "...": labels, "owner": {},
	} {
		if diff := cmp.Diff(want, incident.GroupOf(strings.Fields(by), labels)); diff != "" {
			t.Errorf("%s: %s", by, diff)
		}
	}
}

func TestModelsAndHearers(t *testing.T) {
	b := incident.NewBook(nil)
	i := put(b, fires("a", 1, alert.SeverityPage, 0), 0, people)
	m := fires("b", 2, alert.SeverityPage, 0)
	m.Model = "churn"
	put(b, m, 0, pager)
	if got := i.Models(); !slices.Equal(got, []string{"churn", "fraud"}) {
		t.Errorf("models %v", got)
	}
	if !i.Hears("people") || !i.Hears("pager") || i.Hears("boss") || b.Severity("a") != alert.SeverityPage || b.Severity("x") != "" {
		t.Errorf("incident %+v", i)
	}
}

// The weight is about what the store will be given.
func TestWeight(t *testing.T) {
	b := incident.NewBook(nil)
	for n := range 300 {
		put(b, fires(fmt.Sprintf("%03d", n), uint64(n+1), alert.SeverityTicket, 0), 0, people, pager)
	}
	weight := b.Weight()
	text, err := json.Marshal(b.Touched(start)[0].Incident)
	if err != nil {
		t.Fatal(err)
	}
	if size := int64(len(text)); weight < size || weight > 4*size {
		t.Errorf("weight %d of %d bytes", weight, size)
	}
	if b.Weight() != 0 {
		t.Errorf("weight %d of nothing", b.Weight())
	}
	put(b, ends(fires("000", 1, alert.SeverityTicket, 0), 301, 1), 1, people)
	if again := b.Weight(); again < int64(len(text)) {
		t.Errorf("weight %d of an incident of which one alert has changed", again)
	}
}
