package daemon

import (
	"encoding/json"
	"errors"
	"fmt"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// A mark is where in the ledger something stands that may explain a later change:
// a baseline, a configuration, a trigger, an epoch. It survives a restart.
type mark struct {
	Seq    uint64 `json:"seq"`
	Stream uint64 `json:"stream"`          // sequence of the message that it follows
	Model  string `json:"model,omitempty"` // "": it concerns all
	entry  ledger.Entry
}

// mostMarks bounds what is remembered: it is part of every checkpoint.
const mostMarks = 64

// mark remembers an entry that may explain a later change. Behind a new epoch
// nothing can be told from sequences of the one before.
func (l *loop) mark(e ledger.Entry) {
	switch e.Kind {
	case ledger.KindAlert, ledger.KindNote:
		return
	case ledger.KindEpoch:
		l.marks = nil
	case ledger.KindRetrain, ledger.KindRollback, ledger.KindPromote, ledger.KindBaseline, ledger.KindConfig:
	}
	l.marks = append(l.marks[max(0, len(l.marks)-mostMarks+1):], mark{e.Seq, e.StreamSeq, e.Model, e})
}

// markedEntry returns the entry of a mark, the zero Entry if retention has taken it.
func (l *loop) markedEntry(m mark) (ledger.Entry, error) {
	if m.entry.Seq != 0 {
		return m.entry, nil // it may not be in the store yet
	}
	e, err := l.Store.Entry(m.Seq)
	if errors.Is(err, store.ErrNotFound) {
		return ledger.Entry{}, nil
	}
	return e, err
}

// milestone says in a few words what an entry records, "" if it did nothing.
func milestone(e ledger.Entry) string {
	var body struct {
		Action, Baseline, Actor, Cause, Stream, Suppressed string
		FromVersion                                        string `json:"from_version"`
		ToVersion                                          string `json:"to_version"`
		Changes                                            []ledger.SettingChange
		More                                               int `json:"more_changes"`
	}
	if json.Unmarshal(e.Body, &body) != nil || body.Suppressed != "" {
		return ""
	}
	switch e.Kind {
	case ledger.KindBaseline:
		return fmt.Sprintf("baseline %s %s by %s", body.Baseline, body.Action, ledger.Label(body.Actor))
	case ledger.KindConfig:
		what := "configuration loaded by " + ledger.Label(body.Actor)
		if len(body.Changes) > 0 {
			what += ": " + ledger.Label(body.Changes[0].Path)
		}
		if more := len(body.Changes) + body.More - 1; more > 0 {
			what += fmt.Sprintf(" and %d more", more)
		}
		return what
	case ledger.KindRetrain:
		return "retraining was asked for"
	case ledger.KindRollback:
		return fmt.Sprintf("a rollback from %s to %s was asked for", ledger.Label(body.FromVersion), ledger.Label(body.ToVersion))
	case ledger.KindPromote:
		return fmt.Sprintf("a promotion from %s to %s was asked for", ledger.Label(body.FromVersion), ledger.Label(body.ToVersion))
	case ledger.KindEpoch:
		return fmt.Sprintf("stream %s: %s", ledger.Label(body.Stream), body.Cause)
	case ledger.KindAlert, ledger.KindNote:
	}
	return ""
}
