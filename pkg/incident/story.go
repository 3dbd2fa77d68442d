package incident

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What people can do about an incident.
const (
	ActionAcknowledge = "acknowledge" // look after it: it is not repeated, nor told to others
	ActionNote        = "note"        // say something
	ActionDiagnose    = "diagnose"    // say what caused it
	ActionRemedy      = "remedy"      // say what was done, and whether that helped
	ActionWorth       = "worth"       // say whether it was worth waking for
	ActionClose       = "close"       // say that nothing is left to do
)

// Actions are what people can do, in the order in which they usually do it.
var Actions = []string{ActionAcknowledge, ActionNote, ActionDiagnose, ActionRemedy, ActionWorth, ActionClose}

// Remedies are what can be done about an incident, Results what came of it, and
// Worths the answers to whether it was worth waking for.
var (
	Remedies = []string{"retrained", "rolled_back", "fixed_upstream", "threshold_changed", "baseline_renewed", "nothing", "other"}
	Results  = []string{"worked", "did_not", "pending"}
	Worths   = []string{WorthYes, WorthNo, WorthUnsure}
)

// Answers to whether an incident was worth waking for.
const (
	WorthYes    = "yes"
	WorthNo     = "no"
	WorthUnsure = "unsure"
)

// Requirements are what closing may require: each is what an action of the same name
// leaves behind.
var Requirements = []string{"diagnosis", "remedy", "worth"}

// DefaultCauses are those of a Policy that says nothing else.
func DefaultCauses() []string {
	return []string{
		"upstream_data", "schema_change", "new_release", "population_shift", "seasonality", "labeling", "infrastructure", "expected_change", "false_alarm", "unknown",
	}
}

// Bounds of what people write. TextBytes bounds one text.
const (
	TextBytes = 4 << 10
	MaxNotes  = 100
	nameBytes = 255
)

// A Policy is what the operators of a daemon want of incidents.
type Policy struct {
	Causes        []string // what a diagnosis may name
	CloseRequires []string // of Requirements
}

// An Act is who did something, and when.
type Act struct {
	By string    `json:"by"`
	At time.Time `json:"at"` // wall time
}

// A Story is what people did about an incident.
type Story struct {
	Notes     []Note     `json:"notes,omitempty"` // the oldest first
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`
	Remedy    *Remedy    `json:"remedy,omitempty"`
	Worth     *Worth     `json:"worth,omitempty"`
	ClosedBy  *Act       `json:"closed_by,omitempty"`
}

// A Note is what somebody said.
type Note struct {
	Act
	Text string `json:"text"`
}

// A Diagnosis says what caused an incident.
type Diagnosis struct {
	Act
	Cause string `json:"cause"`
	Text  string `json:"text,omitempty"`
}

// A Remedy says what was done about an incident, and what came of it.
type Remedy struct {
	Act
	Remedy string `json:"remedy"`
	Result string `json:"result"`
	Text   string `json:"text,omitempty"`
}

// A Worth says whether an incident was worth waking for.
type Worth struct {
	Act
	Worth string `json:"worth"`
	Text  string `json:"text,omitempty"`
}

// A Change is one thing that somebody does.
type Change struct {
	Act
	Action string // one of Actions
	Text   string // required of a note
	Known  bool   // of acknowledge: the change is known and will stay, so that what drifts by it ends
	Cause  string // of diagnose
	Remedy string // of remedy
	Result string // of remedy
	Worth  string // of worth
}

// ErrInvalid is wrapped by what Validate finds.
var ErrInvalid = errors.New("not valid")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Validate reports what is wrong with a change whatever the incident, as ErrInvalid.
func (c *Change) Validate(p Policy) error {
	if c.By == "" || len(c.By) > nameBytes {
		return invalid("the actor has no name, or one of more than %d bytes", nameBytes)
	}
	if err := checkText(c.Text); err != nil {
		return err
	}
	switch c.Action {
	case ActionNote:
		if strings.TrimSpace(c.Text) == "" {
			return invalid("a note needs a text")
		}
	case ActionDiagnose:
		return oneOf("cause", c.Cause, p.Causes)
	case ActionRemedy:
		return errors.Join(oneOf("remedy", c.Remedy, Remedies), oneOf("result", c.Result, Results))
	case ActionWorth:
		return oneOf("worth", c.Worth, Worths)
	case ActionAcknowledge, ActionClose:
	default:
		return oneOf("action", c.Action, Actions)
	}
	return nil
}

func oneOf(what, given string, known []string) error {
	if slices.Contains(known, given) {
		return nil
	}
	return invalid("%s: expected one of %s, found %.50q", what, strings.Join(known, ", "), given)
}

// checkText refuses what is too long, is no text, or would drive a terminal.
func checkText(s string) error {
	if why := textFault(s); why != "" {
		return invalid("%s", why)
	}
	return nil
}

// textFault says what is wrong with a text that a person wrote, "" for nothing.
func textFault(s string) string {
	if len(s) > TextBytes {
		return fmt.Sprintf("the text has %d bytes, %d are allowed", len(s), TextBytes)
	}
	if !utf8.ValidString(s) {
		return "the text is not UTF-8"
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }); i >= 0 {
		return fmt.Sprintf("the text has a control character at byte %d", i)
	}
	return ""
}

// Check reports why a valid change cannot be made to this incident now.
func (i *Incident) Check(c *Change, p Policy) error {
	switch c.Action {
	case ActionAcknowledge:
		if !i.Open() {
			return errors.New("the incident has ended: there is nothing to look after; it can be diagnosed and closed")
		}
	case ActionNote:
		if len(i.Notes) >= MaxNotes {
			return fmt.Errorf("the incident has %d notes already", len(i.Notes))
		}
	case ActionClose:
		return i.closable(p)
	}
	return nil
}

// closable reports why an incident cannot be closed.
func (i *Incident) closable(p Policy) error {
	if i.ClosedBy != nil {
		return fmt.Errorf("%s has closed the incident already", i.ClosedBy.By)
	}
	if i.Open() {
		return fmt.Errorf("alerts of it still fire (%d): an incident can be closed when it has ended", i.Firing())
	}
	if missing := i.Missing(p); len(missing) > 0 {
		return fmt.Errorf("closing requires %s (incidents.close_requires), which is missing", strings.Join(missing, ", "))
	}
	return nil
}

// Missing returns what closing requires and nobody has said yet.
func (i *Incident) Missing(p Policy) (out []string) {
	said := map[string]bool{"diagnosis": i.Diagnosis != nil, "remedy": i.Remedy != nil, "worth": i.Worth != nil}
	for _, name := range p.CloseRequires {
		if !said[name] {
			out = append(out, name)
		}
	}
	return out
}

// Phase is "open", "resolved" once it has ended, and "closed" once somebody has said
// that nothing is left to do.
func (i *Incident) Phase() string {
	switch {
	case i.Open():
		return PhaseOpen
	case i.ClosedBy == nil:
		return PhaseResolved
	}
	return PhaseClosed
}

// Phases of an incident.
const (
	PhaseOpen     = "open"
	PhaseResolved = "resolved"
	PhaseClosed   = "closed"
)

// Owners returns the owners of the models of its alerts, each once, ascending.
func (i *Incident) Owners() []string {
	var out []string
	for k := range i.Members {
		if o := i.Members[k].Labels["owner"]; o != "" {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tell takes a checked change other than an acknowledgement.
func (s *Story) tell(c *Change) {
	switch c.Action {
	case ActionNote:
		s.Notes = append(s.Notes, Note{c.Act, c.Text})
	case ActionDiagnose:
		s.Diagnosis = &Diagnosis{c.Act, c.Cause, c.Text}
	case ActionRemedy:
		s.Remedy = &Remedy{c.Act, c.Remedy, c.Result, c.Text}
	case ActionWorth:
		s.Worth = &Worth{c.Act, c.Worth, c.Text}
	case ActionClose:
		s.ClosedBy = &c.Act
	}
}

// clone returns a copy that does not change with s: what its pointers show is
// replaced, never changed.
func (s *Story) clone() Story {
	out := *s
	out.Notes = slices.Clone(s.Notes)
	return out
}

// Incident returns a copy of an open incident, nil if it is not.
func (b *Book) Incident(id string) *Incident {
	if i := b.open[id]; i != nil {
		return i.Clone()
	}
	return nil
}

// Change makes a checked change to i, which the ledger holds as entry seq. An
// incident that has ended comes back into the book, until it is Touched. Of an
// acknowledgement hears who was told of what fires.
func (b *Book) Change(i *Incident, c *Change, seq uint64) {
	if b.open[i.ID] == nil {
		b.open[i.ID] = i
	}
	if c.Action == ActionAcknowledge {
		b.Acknowledge(i.ID, Acknowledgement(c.Act), seq)
		return
	}
	known := b.open[i.ID]
	known.tell(c)
	known.Seq = max(known.Seq, seq)
	b.touch(i.ID, seq, nil)
}
