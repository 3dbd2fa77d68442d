package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/wording"
)

// A Message is a ledger entry in words for people. Its texts are plain: a sink
// escapes them for its receiver.
type Message struct {
	Kind     ledger.Kind
	Status   string // "firing" or "resolved"; empty unless an alert
	Severity string // "page", "ticket" or "info"
	Title    string // one line
	Topic    string // the title without the status, the same from the first message to the last
	Sentence string // what moved, by how much, since when, how sure, where
	About    []Field
	Why      []Field // where the move is, who brings it, what else happened
	Values   []Field // the statistics of the decision; those it used come first
	Others   []Field // of an incident: its other alerts, by rule
	Window   ledger.Window
	Seq      uint64          // of the entry; 0: a test, of which there is none
	Link     string          // to the entry; empty without an external URL
	Links    []Link          // to what it saw
	Alerts   []wording.Alert // of an incident: all that the message knows of, the worst first
	Firing   int             // of an incident, how many there are
	Ended    int
	// Pictured is where a picture of the signal that moved most is served; empty if
	// there is none, or no external URL.
	Pictured string
}

// A Field is a name and its value.
type Field struct{ Name, Value string }

// place is where the message is recorded.
func (m Message) place() string {
	if m.Seq == 0 {
		return "not in the ledger"
	}
	return "ledger " + strconv.FormatUint(m.Seq, 10)
}

// Tables are the fields that there are: what it is about, why, the numbers, and what
// else there is.
func (m Message) Tables() (out [][]Field) {
	for _, fs := range [][]Field{m.About, m.Why, m.Values, m.Others} {
		if len(fs) > 0 {
			out = append(out, fs)
		}
	}
	return out
}

// Notifies says whether people hear of an entry by default. Baselines,
// configurations and epochs are in the ledger for who looks.
func Notifies(e ledger.Entry) bool {
	switch e.Kind {
	case ledger.KindAlert, ledger.KindRetrain, ledger.KindRollback, ledger.KindPromote:
		return true
	case ledger.KindNote, ledger.KindBaseline, ledger.KindConfig, ledger.KindEpoch, ledger.KindSilence, ledger.KindIncident, ledger.KindDigest:
	}
	return false
}

// Describe words an entry. externalURL is where people reach driftd, "" if
// they cannot.
func Describe(e ledger.Entry, externalURL string) (Message, error) {
	m := Message{Kind: e.Kind, Severity: "info", Seq: e.Seq, Link: entryLink(externalURL, e.Seq)}
	var err error
	switch e.Kind {
	case ledger.KindAlert, ledger.KindNote:
		err = describe(e, &m, func(a ledger.Alert, m *Message) { describeAlert(a, m, externalURL) })
	case ledger.KindRetrain:
		err = describe(e, &m, describeRetrain)
	case ledger.KindRollback, ledger.KindPromote:
		err = describe(e, &m, describeRollback)
	case ledger.KindBaseline:
		err = describe(e, &m, describeBaseline)
	case ledger.KindConfig:
		err = describe(e, &m, describeConfig)
	case ledger.KindEpoch:
		err = describe(e, &m, describeEpoch)
	case ledger.KindSilence:
		err = describe(e, &m, describeSilence)
	case ledger.KindIncident:
		err = describe(e, &m, describeStory)
	case ledger.KindDigest:
		err = describe(e, &m, describeDigest)
	default:
		err = unsendable(fmt.Errorf("entry %d has kind %q, which has no words", e.Seq, e.Kind))
	}
	m.Topic = cmp.Or(m.Topic, m.Title)
	return m, err
}

// word describes a delivery in the words of a template, which may be nil: its entry
// or its incident and, when that takes the place of entries that never arrived, that
// it does.
func word(d ledger.Delivery, externalURL string, t *Template) (Message, error) {
	var m Message
	var err error
	if d.Group != nil {
		m, err = DescribeGroup(d.Group, externalURL)
	} else {
		m, err = Describe(d.Entry, externalURL)
	}
	if err != nil {
		return m, err
	}
	if m.Status == "resolved" && d.Unheard() {
		m.Title = strings.Replace(m.Title, "Resolved:", "Fired and resolved:", 1)
		m.Sentence += " It fired and was resolved while this receiver could not be reached."
	}
	t.say(&m, d.Entry)
	return m, nil
}

func describe[B any](e ledger.Entry, m *Message, words func(B, *Message)) error {
	body, err := decode[B](e)
	if err == nil {
		words(body, m)
	}
	return err
}

func decode[B any](e ledger.Entry) (body B, err error) {
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return body, unsendable(fmt.Errorf("decode %s entry %d: %w", e.Kind, e.Seq, err))
	}
	return body, nil
}

func describeAlert(a ledger.Alert, m *Message, externalURL string) {
	m.Status, m.Severity, m.Window = a.Status, a.Severity, a.Window
	if a.Change != "" {
		describeDrift(a, m)
	} else {
		describeRule(a, m)
	}
	m.explain(&a, externalURL)
	if a.Explanation.Pictured() && m.Link != "" {
		m.Pictured = strings.TrimRight(externalURL, "/") + "/api/v1/ledger/" + strconv.FormatUint(m.Seq, 10) + "/picture.png"
	}
}

func describeRule(a ledger.Alert, m *Message) {
	where := modelPhrase(a.Model, a.ModelVersion, a.Variant, a.Segment)
	subject, verb := "Model "+where, "breaks rule "+a.Rule
	what := a.Model
	if a.Feature != "" {
		subject, verb = a.Feature+" of "+where, "moved"
		what += "/" + a.Feature
	}
	span := " in the window " + spanText(a.Window.Start, a.Window.End)
	if a.Model == "" { // driftd's own
		subject, verb, what, span = "driftd", "reports "+a.Rule, "driftd", ""
	}
	m.Topic = a.Rule + " on " + what
	if a.Status == "resolved" {
		m.Title = "Resolved: " + m.Topic
		m.Sentence = subject + " is back to normal"
		if a.EndsAt != nil {
			m.Sentence += fmt.Sprintf(" since %s, after %s", ledger.TimeText(*a.EndsAt), ledger.DurationText(a.EndsAt.Sub(a.StartsAt)))
		}
		m.Sentence += fmt.Sprintf(": %s%s", orDash(a.Reason), span)
		if a.Evidence.Peak != "" {
			m.Sentence += "; at its worst " + a.Evidence.Peak
		}
	} else {
		m.Title = capital(a.Severity) + ": " + m.Topic
		m.Sentence = fmt.Sprintf("%s %s: %s%s, firing since %s", subject, verb, orDash(a.Reason), span, ledger.TimeText(a.StartsAt))
	}
	m.Sentence += "."
	m.About = fields("Model", a.Model, "Version", a.ModelVersion, "Variant", a.Variant, "Segment", a.Segment,
		"Feature", a.Feature, "Rule", a.Rule, "Severity", a.Severity, "Summary", a.Annotations["summary"],
		"Runbook", a.Annotations["runbook_url"], "Owner", a.Labels["owner"])
	m.Values = statFields(a.Stats, a.Reason)
}

func describeRetrain(r ledger.Retrain, m *Message) {
	d := r.Manifest.Data
	m.Window = ledger.Window{Start: d.From, End: d.To}
	m.Title = "Retrain " + r.Model
	m.Sentence = fmt.Sprintf("Model %s should be trained again: %s; data: %s %d to %d (%s), %d labels.",
		modelPhrase(r.Model, r.ModelVersion, "", ""), orDash(r.Reason), d.Stream, d.FromSeq, d.ToSeq, spanText(d.From, d.To), r.Manifest.Labels.Count)
	m.suppress(r.Suppressed)
	m.About = fields("Model", r.Model, "Version", r.ModelVersion, "Baseline", r.Manifest.Baseline, "Samples", r.Manifest.SamplesDigest,
		"Seed", strconv.FormatUint(r.Manifest.Seed, 10), "Alerts", strings.Join(r.AlertIDs, ", "))
}

func describeRollback(r ledger.Rollback, m *Message) {
	verb, title := "return", "Roll back "
	if m.Kind == ledger.KindPromote {
		verb, title = "move on", "Promote "
	}
	m.Title = title + r.Model
	if r.ToVersion != "" {
		m.Title += " to " + r.ToVersion
	}
	m.Sentence = fmt.Sprintf("Traffic of %s should %s from version %s to version %s: %s, on %d predictions against %d.",
		r.Model, verb, orDash(r.FromVersion), orDash(r.ToVersion), orDash(r.Reason), r.Evidence.NCanary, r.Evidence.NControl)
	m.suppress(r.Suppressed)
	m.About = fields("Model", r.Model, "From version", r.FromVersion, "To version", r.ToVersion, "Test", r.Evidence.Test,
		"Alerts", strings.Join(r.AlertIDs, ", "))
	stats := map[string]float64{"n_canary": float64(r.Evidence.NCanary), "n_control": float64(r.Evidence.NControl)}
	if r.Evidence.EValue != 0 {
		stats["e_value"], stats["alpha"] = r.Evidence.EValue, r.Evidence.Alpha
	}
	m.Values = statFields(stats, "")
}

// suppress says that machines were not told, and why.
func (m *Message) suppress(why string) {
	if why != "" {
		m.Title += " (no signal sent)"
		m.Sentence += " No signal was sent: " + strings.TrimSuffix(why, ".") + "."
	}
}

func describeBaseline(b ledger.BaselineChange, m *Message) {
	m.Title = fmt.Sprintf("Baseline of %s: %s", b.Model, b.Action)
	m.Sentence = fmt.Sprintf("Baseline %s of model %s: %s by %s; %d rows from %s, now %s.", b.Baseline, b.Model, b.Action, orDash(b.Actor), b.Rows, orDash(b.Origin), orDash(b.State))
	m.About = fields("Model", b.Model, "Baseline", b.Baseline, "State", b.State)
}

func describeConfig(c ledger.ConfigChange, m *Message) {
	m.Title = "Configuration loaded"
	m.Sentence = fmt.Sprintf("Configuration %s was loaded by %s.", c.Hash, orDash(c.Actor))
}

func describeEpoch(c ledger.EpochChange, m *Message) {
	m.Title = fmt.Sprintf("Stream %s: %s", c.Stream, c.Cause)
	m.Sentence = fmt.Sprintf("Stream %s is in epoch %d because of %s: messages %d to %d.", c.Stream, c.Epoch, c.Cause, c.From, c.To)
}

func describeSilence(c ledger.SilenceChange, m *Message) {
	m.Title = fmt.Sprintf("%s %s: %s", capital(c.Kind), c.Silence, c.Action)
	m.Sentence = fmt.Sprintf("%s %s of %s was %s by %s: %s.", capital(c.Kind), c.Silence, strings.Join(c.Matchers, " "), c.Action, orDash(c.Actor), strings.TrimSuffix(c.Comment, "."))
	m.About = fields("Silence", c.Silence, "Kind", c.Kind)
}

// modelPhrase is "fraud version 42, canary, segment channel=app".
func modelPhrase(model, version, variant, segment string) string {
	s := model
	if version != "" {
		s += " version " + version
	}
	if variant != "" {
		s += ", " + variant
	}
	if segment != "" {
		s += ", segment " + segment
	}
	return s
}

// statFields lists statistics by name, those that the reason mentions first.
func statFields(stats map[string]float64, reason string) []Field {
	used := map[string]bool{}
	for _, word := range strings.FieldsFunc(reason, func(r rune) bool { return r == ' ' || r == ',' || r == '(' || r == ')' }) {
		used[word] = true
	}
	var fs []Field
	for name, v := range stats {
		fs = append(fs, Field{name, numberText(v)})
	}
	slices.SortFunc(fs, func(a, b Field) int {
		if used[a.Name] != used[b.Name] {
			if used[a.Name] {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return fs
}

// fields pairs names with values and leaves out the empty ones.
func fields(pairs ...string) []Field {
	var fs []Field
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fs = append(fs, Field{pairs[i], pairs[i+1]})
		}
	}
	return fs
}

// numberText writes whole numbers in full and others with 4 digits.
func numberText(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// spanText does not repeat the date when both ends share it.
func spanText(from, to time.Time) string {
	const day, clock = "2006-01-02", "15:04"
	from, to = from.UTC(), to.UTC()
	end := to.Format(day + " " + clock)
	if from.Format(day) == to.Format(day) {
		end = to.Format(clock)
	}
	return from.Format(day+" "+clock) + " to " + end + " UTC"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func capital(s string) string {
	if s == "" {
		return "Alert"
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// entryLink is the page of a ledger entry, which leads on to its incident. Behind
// /api/v1 it is JSON.
func entryLink(externalURL string, seq uint64) string {
	if externalURL == "" || seq == 0 {
		return ""
	}
	return strings.TrimRight(externalURL, "/") + "/ledger/" + strconv.FormatUint(seq, 10)
}
