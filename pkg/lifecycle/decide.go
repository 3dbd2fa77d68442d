package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// A Policy limits how often a model may be acted on, in event time.
type Policy struct {
	RetrainCooldown  time.Duration // between two retrains of a model; zero: no pause
	RetrainExpiry    time.Duration // an open retrain is given up after it; zero: never
	RollbackCooldown time.Duration // between two rollbacks from one version; zero: no pause
}

// DefaultPolicy is a day between retrains, a week until one is given up, and an
// hour between rollbacks from the same version.
func DefaultPolicy() Policy {
	return Policy{RetrainCooldown: 24 * time.Hour, RetrainExpiry: 7 * 24 * time.Hour, RollbackCooldown: time.Hour}
}

// Validate reports every fault of a policy.
func (p Policy) Validate() error {
	if p.RetrainCooldown < 0 || p.RetrainExpiry < 0 || p.RollbackCooldown < 0 {
		return fmt.Errorf("lifecycle policy %+v: no duration can be negative", p)
	}
	return nil
}

// A State is what was last asked for one model. It survives JSON unchanged; the
// zero State is that of a model that nothing was asked for.
type State struct {
	RetrainAt   time.Time            `json:"retrain_at,omitzero"`   // of the last retrain sent
	RetrainOpen bool                 `json:"retrain_open,omitzero"` // nobody has answered it yet
	Leader      string               `json:"leader,omitzero"`       // version with most primary traffic then
	Rollbacks   map[string]time.Time `json:"rollbacks,omitempty"`   // last rollback from a version
}

// Answered closes the open retrain: somebody said it is done.
func (s State) Answered() State {
	s.RetrainOpen = false
	return s
}

// A Trigger is an alert that fired, with the id of its ledger entry.
type Trigger struct {
	Change  alert.Change
	EntryID string
}

// A Request is what one pass over one model's closed windows asks for.
type Request struct {
	Model    string
	At       time.Time // end of the windows, event time
	Triggers []Trigger // of this model, in the order of the ledger; what did not fire is ignored
	Traffic  Traffic
	Manifest Manifest // all but Seed; used if a retrain is asked for
	Policy   Policy
}

// Decide answers a request with at most one Retrain and one Rollback a failing
// version, in this order. A decision that is not safe is Suppressed and leaves
// the state as it was.
//
// A retrain stays open until another version leads the primary traffic, somebody
// answers, or it expires; while it is open no other is sent. A rollback goes to
// the version with most primary traffic in the last closed window, but never to
// one that is itself being rolled back.
func Decide(s State, r Request) (State, []Decision) {
	s = s.settle(r)
	var decisions []Decision
	if asked := approvedFirst(r.asking(alert.ActionRetrain)); len(asked) > 0 {
		d := r.retrain(s, asked)
		if d.Suppressed == "" {
			s.RetrainAt, s.RetrainOpen = r.At.UTC(), true
			s.Leader = r.Traffic.leader(func(string) bool { return true }).Version
		}
		decisions = append(decisions, Decision{Retrain: &d})
	}
	failing := map[string][]Trigger{}
	for _, t := range r.asking(alert.ActionRollback) {
		failing[t.Change.Series.Version] = append(failing[t.Change.Series.Version], t)
	}
	for _, version := range slices.Sorted(maps.Keys(failing)) {
		d := r.rollback(s, version, failing)
		if d.Suppressed == "" {
			s.Rollbacks = maps.Clone(s.Rollbacks)
			if s.Rollbacks == nil {
				s.Rollbacks = map[string]time.Time{}
			}
			s.Rollbacks[version] = r.At.UTC()
		}
		decisions = append(decisions, Decision{Rollback: &d})
	}
	return s, decisions
}

// settle forgets what no longer matters.
func (s State) settle(r Request) State {
	leader := r.Traffic.leader(func(string) bool { return true }).Version
	replaced := leader != "" && s.Leader != "" && leader != s.Leader
	expired := r.Policy.RetrainExpiry > 0 && r.At.Sub(s.RetrainAt) >= r.Policy.RetrainExpiry
	if replaced || expired {
		s.RetrainOpen = false
	}
	if len(s.Rollbacks) == 0 {
		return s
	}
	kept := maps.Clone(s.Rollbacks)
	maps.DeleteFunc(kept, func(_ string, at time.Time) bool { return r.At.Sub(at) >= r.Policy.RollbackCooldown })
	if s.Rollbacks = kept; len(kept) == 0 {
		s.Rollbacks = nil
	}
	return s
}

// asking returns the triggers that ask for an action.
func (r Request) asking(action string) []Trigger {
	var out []Trigger
	for _, t := range r.Triggers {
		if t.Change.Fired() && slices.Contains(t.Change.Actions, action) {
			out = append(out, t)
		}
	}
	return out
}

// approvedFirst leaves out triggers that rest on a reference nobody approved, as
// long as any other asks too.
func approvedFirst(asked []Trigger) []Trigger {
	var out []Trigger
	for _, t := range asked {
		if !t.Change.Unapproved {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return asked
	}
	return out
}

func (r Request) retrain(s State, asked []Trigger) Retrain {
	d := Retrain{
		Model: r.Model, ModelVersion: asked[0].Change.Series.Version,
		Reason: reason(asked), AlertIDs: ids(asked), Manifest: r.Manifest,
	}
	for _, t := range asked {
		if t.Change.Series.Version != d.ModelVersion {
			d.ModelVersion = ""
		}
	}
	d.Manifest.Seed = Seed(asked[0].EntryID)
	again := s.RetrainAt.Add(r.Policy.RetrainCooldown)
	switch {
	case asked[0].Change.Unapproved:
		d.Suppressed = unapproved(asked[0])
	case s.RetrainOpen:
		d.Suppressed = fmt.Sprintf("the retrain of %s is still open", stamp(s.RetrainAt))
	case !s.RetrainAt.IsZero() && r.At.Before(again):
		d.Suppressed = fmt.Sprintf("the last retrain was asked for at %s; no other before %s", stamp(s.RetrainAt), stamp(again))
	}
	return d
}

func (r Request) rollback(s State, version string, failing map[string][]Trigger) Rollback {
	asked := approvedFirst(failing[version])
	target := r.Traffic.leader(func(v string) bool {
		_, fails := failing[v]
		_, failed := s.Rollbacks[v]
		return v != version && !fails && !failed
	})
	from := r.Traffic.version(version)
	d := Rollback{
		Model: r.Model, FromVersion: version, ToVersion: target.Version, Reason: reason(asked), AlertIDs: ids(asked),
		Evidence: RollbackEvidence{
			Test: "rule:" + asked[0].Change.Series.Rule, NCanary: from.Primary + from.Canary, NControl: target.Primary,
		},
	}
	last, recent := s.Rollbacks[version]
	shadow := !slices.ContainsFunc(asked, func(t Trigger) bool { return t.Change.Variant() != "shadow" })
	switch {
	case version == "" || version == drift.Other:
		d.Suppressed = "the alert does not say which version fails"
	case asked[0].Change.Unapproved:
		d.Suppressed = unapproved(asked[0])
	case shadow:
		d.Suppressed = fmt.Sprintf("version %s runs as shadow: nobody gets its answers", version)
	case recent:
		d.Suppressed = fmt.Sprintf("the rollback of version %s was asked for at %s; no other before %s", version, stamp(last), stamp(last.Add(r.Policy.RollbackCooldown)))
	case target.Version == "":
		d.Suppressed = fmt.Sprintf("no other version of %s that is not failing had primary traffic in the window ending %s", r.Model, stamp(r.At))
	}
	return d
}

func unapproved(t Trigger) string {
	return fmt.Sprintf("baseline %s is not approved; see driftd baseline approve", t.Change.Baseline)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maxReasons is how many alerts a reason quotes; AlertIDs names all of them.
const maxReasons = 3

// reason quotes the alerts that asked: "AmountDrift amount: psi 0.31 > 0.2".
func reason(asked []Trigger) string {
	var parts []string
	for _, t := range asked[:min(len(asked), maxReasons)] {
		name := t.Change.Series.Rule
		if t.Change.Series.Signal != "" {
			name += " " + t.Change.Series.Signal
		}
		parts = append(parts, name+": "+t.Change.Reason)
	}
	if more := len(asked) - maxReasons; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more alerts", more))
	}
	return strings.Join(parts, "; ")
}

func ids(asked []Trigger) []string {
	out := make([]string, len(asked))
	for i, t := range asked {
		out[i] = t.EntryID
	}
	return out
}
