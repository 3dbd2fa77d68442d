package incident_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
)

var policy = incident.Policy{Causes: incident.DefaultCauses()}

func by(name, action string) incident.Change {
	return incident.Change{Act: incident.Act{By: name, At: start}, Action: action}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*incident.Change)
		want string // "" for valid
	}{
		"acknowledge":         {func(c *incident.Change) { c.Action = incident.ActionAcknowledge }, ""},
		"a note":              {func(c *incident.Change) { c.Action, c.Text = incident.ActionNote, "a\n\tb <b>" }, ""},
		"an empty note":       {func(c *incident.Change) { c.Action, c.Text = incident.ActionNote, " \n" }, "needs a text"},
		"the longest note":    {func(c *incident.Change) { c.Action, c.Text = incident.ActionNote, strings.Repeat("a", 4096) }, ""},
		"a longer note":       {func(c *incident.Change) { c.Action, c.Text = incident.ActionNote, strings.Repeat("a", 4097) }, "4096 are allowed"},
		"an escape":           {func(c *incident.Change) { c.Action, c.Text = incident.ActionNote, "a\x1b[2J" }, "control character at byte 1"},
		"no UTF-8":            {func(c *incident.Change) { c.Action, c.Text = incident.ActionNote, "\xff" }, "not UTF-8"},
		"a diagnosis":         {func(c *incident.Change) { c.Action, c.Cause = incident.ActionDiagnose, "seasonality" }, ""},
		"an unknown cause":    {func(c *incident.Change) { c.Action, c.Cause = incident.ActionDiagnose, "moon" }, `cause: expected one of upstream_data`},
		"a remedy":            {func(c *incident.Change) { c.Action, c.Remedy, c.Result = incident.ActionRemedy, "retrained", "pending" }, ""},
		"a remedy, no result": {func(c *incident.Change) { c.Action, c.Remedy = incident.ActionRemedy, "retrained" }, "result: expected one of worked, did_not, pending"},
		"an unknown remedy":   {func(c *incident.Change) { c.Action, c.Remedy, c.Result = incident.ActionRemedy, "prayed", "worked" }, "remedy: expected"},
		"worth":               {func(c *incident.Change) { c.Action, c.Worth = incident.ActionWorth, "no" }, ""},
		"an unknown worth":    {func(c *incident.Change) { c.Action, c.Worth = incident.ActionWorth, "maybe" }, "worth: expected one of yes, no, unsure"},
		"an unknown action":   {func(c *incident.Change) { c.Action = "delete" }, "action: expected one of acknowledge"},
		"nobody":              {func(c *incident.Change) { c.By = "" }, "no name"},
		"a long name":         {func(c *incident.Change) { c.By = strings.Repeat("a", 256) }, "no name, or one of more"},
	} {
		t.Run(name, func(t *testing.T) {
			change := by("ada", incident.ActionClose)
			c.edit(&change)
			err := change.Validate(policy)
			if c.want == "" && err == nil {
				return
			}
			if err == nil || c.want == "" || !strings.Contains(err.Error(), c.want) || !errors.Is(err, incident.ErrInvalid) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// change checks and makes a change.
func change(t *testing.T, b *incident.Book, i *incident.Incident, c incident.Change, seq uint64) {
	t.Helper()
	if err := errors.Join(c.Validate(policy), i.Check(&c, policy)); err != nil {
		t.Fatal(err)
	}
	b.Change(i, &c, seq)
}

// The life of an incident, from the first note to its end and long after.
func TestStory(t *testing.T) {
	b := incident.NewBook(nil)
	m := fires("a", 1, alert.SeverityPage, 0)
	put(b, m, 0, people, pager)
	b.Touched(start)

	ack := by("ada", incident.ActionAcknowledge)
	change(t, b, b.Incident("a"), ack, 2)
	note := by("bob", incident.ActionNote)
	note.Text = "the ETL of the night was late"
	change(t, b, b.Incident("a"), note, 3)
	if got := told(b.Touched(start)); got != "a pager:2, a people:2" {
		t.Errorf("owed %q: of an acknowledgement hear those who were told, of a note nobody", got)
	}
	closing := by("ada", incident.ActionClose)
	if err := b.Incident("a").Check(&closing, policy); err == nil || !strings.Contains(err.Error(), "alerts of it still fire (1)") {
		t.Errorf("closing while it fires: %v", err)
	}
	put(b, ends(m, 4, 5), 5, people, pager)
	ended := b.Touched(start)[0].Clone()
	if b.Incident("a") != nil || ended.Phase() != incident.PhaseResolved {
		t.Fatalf("%+v", ended)
	}
	if err := ended.Check(&ack, policy); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("acknowledging what has ended: %v", err)
	}
	ended = late(t, b, ended, incident.Change{Action: incident.ActionDiagnose, Cause: "upstream_data", Text: "late"}, 5)
	ended = late(t, b, ended, incident.Change{Action: incident.ActionRemedy, Remedy: "fixed_upstream", Result: "worked"}, 6)
	ended = late(t, b, ended, incident.Change{Action: incident.ActionWorth, Worth: "yes"}, 7)
	ended = late(t, b, ended, incident.Change{Action: incident.ActionClose}, 8)
	if ended.Phase() != incident.PhaseClosed || ended.ClosedBy.By != "ada" || ended.Seq != 8 || len(ended.Notes) != 1 || ended.Diagnosis.Cause != "upstream_data" || ended.Remedy.Result != "worked" || ended.Worth.Worth != "yes" {
		t.Errorf("%+v", ended)
	}
	if err := ended.Check(&closing, policy); err == nil || !strings.Contains(err.Error(), "ada has closed") {
		t.Errorf("closing twice: %v", err)
	}
	text, err := json.Marshal(ended)
	if err != nil {
		t.Fatal(err)
	}
	var again incident.Incident
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ended, &again); diff != "" {
		t.Error(diff)
	}
}

// late changes what has ended: it is in the book until it is Touched.
func late(t *testing.T, b *incident.Book, i *incident.Incident, c incident.Change, seq uint64) *incident.Incident {
	t.Helper()
	c.Act = incident.Act{By: "ada", At: start.Add(time.Hour)}
	change(t, b, i.Clone(), c, seq)
	if b.Place(fraud, false, alert.SeverityTicket) != "" || b.Of("a") != "" {
		t.Error("what has ended takes alerts")
	}
	touches := b.Touched(minute(9))
	if len(touches) != 1 || len(touches[0].Owed) != 0 || b.Incident("a") != nil {
		t.Fatalf("touched %+v", touches)
	}
	return touches[0].Clone()
}

func TestClosingRequires(t *testing.T) {
	i := &incident.Incident{ID: "a", Resolved: start}
	closing, strict := by("ada", incident.ActionClose), incident.Policy{CloseRequires: []string{"diagnosis", "remedy", "worth"}}
	if err := i.Check(&closing, strict); err == nil || !strings.Contains(err.Error(), "closing requires diagnosis, remedy, worth") {
		t.Errorf("%v", err)
	}
	i.Diagnosis, i.Worth = &incident.Diagnosis{}, &incident.Worth{}
	if err := i.Check(&closing, strict); err == nil || !strings.Contains(err.Error(), "closing requires remedy (") {
		t.Errorf("%v", err)
	}
	i.Remedy = &incident.Remedy{}
	if err := i.Check(&closing, strict); err != nil {
		t.Error(err)
	}
}

func TestNotesAreBounded(t *testing.T) {
	i := &incident.Incident{ID: "a", Resolved: start}
	i.Notes = make([]incident.Note, incident.MaxNotes)
	note := by("ada", incident.ActionNote)
	if err := i.Check(&note, policy); err == nil || !strings.Contains(err.Error(), "100 notes") {
		t.Errorf("%v", err)
	}
}

// What was handed out does not change with the book.
func TestAStoryIsACopy(t *testing.T) {
	b := incident.NewBook(nil)
	put(b, fires("a", 1, alert.SeverityPage, 0), 0)
	note := by("ada", incident.ActionNote)
	note.Text = "first"
	change(t, b, b.Incident("a"), note, 2)
	before := b.Open()[0]
	note.Text = "second"
	change(t, b, b.Incident("a"), note, 3)
	if len(before.Notes) != 1 || len(b.Open()[0].Notes) != 2 {
		t.Errorf("notes %v", before.Notes)
	}
}
