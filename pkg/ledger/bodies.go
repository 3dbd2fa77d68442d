package ledger

import "time"

// A Window names the half-open span of event time that a decision looked at.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// An Alert is the body of a KindAlert entry: a rule started or stopped firing
// on one series, or drift was found within a budget. It is the JSON of driftd.alerts.<model> less what a Delivery
// adds (id, ledger_seq, ledger_hash).
type Alert struct {
	Type         string             `json:"type"`   // "alert"
	Status       string             `json:"status"` // "firing" or "resolved"; "noted" of a KindNote
	Rule         string             `json:"rule"`
	Model        string             `json:"model"`
	ModelVersion string             `json:"model_version,omitempty"`
	Variant      string             `json:"variant,omitempty"`
	Segment      string             `json:"segment,omitempty"`
	Feature      string             `json:"feature,omitempty"`
	Severity     string             `json:"severity"`         // "page", "ticket" or "info"
	Notify       string             `json:"notify,omitempty"` // "shadow": it would have been told, and nobody was
	Muted        string             `json:"muted,omitempty"`  // id of the maintenance in which it began: nobody was told
	StartsAt     time.Time          `json:"starts_at"`
	EndsAt       *time.Time         `json:"ends_at"` // nil while firing
	Window       Window             `json:"window"`
	Stats        map[string]float64 `json:"stats"`  // the rule's inputs that are defined
	Reason       string             `json:"reason"` // each clause with its values
	Evidence     Evidence           `json:"evidence"`
	Labels       map[string]string  `json:"labels,omitempty"`
	Annotations  map[string]string  `json:"annotations,omitempty"`
	DedupKey     string             `json:"dedup_key"`          // the id of the entry that started to fire
	Incident     string             `json:"incident,omitempty"` // the dedup key of the alert that opened the incident it is of
	// Flaps is how often the alert has started again, each time within a day of its
	// end, up to this one.
	Flaps int `json:"flaps,omitempty"`

	Explanation *Explanation `json:"explanation,omitempty"` // of the first alerts of a window; none of an end

	// Of drift that was found within a budget, not by a rule.
	Change   string    `json:"change,omitempty"` // "opened", "raised", "extended", "resolved", "superseded" (by an incident of its own) or "noted"
	Budget   string    `json:"budget,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	// Detectable is the shift, in standard deviations of a signal, that this
	// window alone would have shown; it could not have seen less. 0: unknown.
	Detectable float64 `json:"detectable,omitempty"`
}

// A Finding is what one detector saw: one component of one signal. Effects are
// measured from Since to the end of the alert's window.
type Finding struct {
	Signal    string    `json:"signal"`
	Component string    `json:"component"`         // "location", "spread", "categories", "unseen", "missing", "non_finite" or "failed"
	Level     string    `json:"level"`             // "page", "ticket" or "record"
	Lowered   string    `json:"lowered,omitempty"` // why it is a ticket though its effect is that of a page
	Since     time.Time `json:"since"`             // when the change began
	Reason    string    `json:"reason"`            // one clause for people
	Distance  float64   `json:"distance"`
	PSI       float64   `json:"psi"` // debiased
	Share     float64   `json:"share,omitempty"`
	Baseline  float64   `json:"baseline_share,omitempty"`
	N         uint64    `json:"n"`
	Direction int       `json:"direction,omitempty"` // 1 greater, -1 smaller
	LogR      float64   `json:"log_r"`               // evidence, in nats
	Threshold float64   `json:"threshold"`           // the log_r from which on it is an alarm
	Connected bool      `json:"connected,omitempty"` // no alarm by itself: it moved with the others
	Gross     bool      `json:"gross,omitempty"`     // so far off, twice in a row, that no evidence is needed
	Dense     bool      `json:"dense,omitempty"`     // too little by itself: many moved a little
	Moved     []Move    `json:"moved,omitempty"`     // of categories: those whose share moved most, at most 3
}

// A Move is how far the share of one category moved, from the baseline to the
// panes since the change began.
type Move struct {
	Category string  `json:"category"` // "(other)" stands for the rare ones of the baseline
	From     float64 `json:"from"`     // share of values, 0 to 1
	To       float64 `json:"to"`
	New      bool    `json:"new,omitempty"`  // the baseline never had it
	Gone     bool    `json:"gone,omitempty"` // chance alone would have brought some
}

// Evidence is what an auditor needs to compute a decision again.
type Evidence struct {
	Expr       string `json:"expr"`
	ConfigHash string `json:"config_hash,omitempty"`
	Baseline   string `json:"baseline,omitempty"`
	Digest     string `json:"window_digest,omitempty"` // of the window's integer counts
	Peak       string `json:"peak,omitempty"`          // the worst reason while firing, on a resolve
}

// A Retrain is the body of a KindRetrain entry.
type Retrain struct {
	Type         string   `json:"type"` // "retrain"
	Model        string   `json:"model"`
	ModelVersion string   `json:"model_version,omitempty"`
	Reason       string   `json:"reason"`
	AlertIDs     []string `json:"alert_ids"`
	Manifest     Manifest `json:"manifest"`
	Suppressed   string   `json:"suppressed,omitempty"` // why nothing was sent
}

// A Manifest names everything a training run needs to be repeated.
type Manifest struct {
	Data          ManifestData   `json:"data"`
	Baseline      string         `json:"baseline,omitempty"`
	Labels        ManifestLabels `json:"labels"`
	SamplesDigest string         `json:"samples_digest"`
	Seed          uint64         `json:"seed"`
	ConfigHash    string         `json:"config_hash"`
	Driftd        string         `json:"driftd"`
}

// ManifestData names the part of the stream to train on.
type ManifestData struct {
	Stream  string    `json:"stream"`
	FromSeq uint64    `json:"from_seq"`
	ToSeq   uint64    `json:"to_seq"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
}

// ManifestLabels counts the labels joined in the span and digests them.
type ManifestLabels struct {
	Count  uint64 `json:"count"`
	Digest string `json:"digest"`
}

// A Rollback is the body of KindRollback and KindPromote entries.
type Rollback struct {
	Type        string           `json:"type"` // "rollback" or "promote"
	Model       string           `json:"model"`
	FromVersion string           `json:"from_version"`
	ToVersion   string           `json:"to_version"`
	Reason      string           `json:"reason"`
	AlertIDs    []string         `json:"alert_ids,omitempty"`
	Evidence    RollbackEvidence `json:"evidence"`
	Suppressed  string           `json:"suppressed,omitempty"` // why nothing was sent
}

// RollbackEvidence says which test spoke and on how much data.
type RollbackEvidence struct {
	Test     string  `json:"test"` // "rule:<name>" or a sequential test
	EValue   float64 `json:"e_value,omitempty"`
	Alpha    float64 `json:"alpha,omitempty"`
	NCanary  uint64  `json:"n_canary"`
	NControl uint64  `json:"n_control"`
}

// A BaselineChange is the body of a KindBaseline entry.
type BaselineChange struct {
	Type     string `json:"type"` // "baseline"
	Action   string `json:"action"`
	Model    string `json:"model"`
	Baseline string `json:"baseline"`
	Origin   string `json:"origin"`
	Rows     uint64 `json:"rows"`
	State    string `json:"state"`
	Actor    string `json:"actor"`
}

// A ConfigChange is the body of a KindConfig entry: what is decided behind the
// entry's StreamSeq is decided by this configuration.
type ConfigChange struct {
	Type     string          `json:"type"`               // "config"
	Hash     string          `json:"hash"`               // of what decides; equal to Previous when only addresses changed
	Previous string          `json:"previous,omitempty"` // hash of the one before
	Actor    string          `json:"actor"`              // "start", "SIGHUP" or who asked the API
	Changes  []SettingChange `json:"changes,omitempty"`  // the first 100; none at a start, which knows the hash alone
	More     int             `json:"more_changes,omitempty"`
}

// A SettingChange is one setting that a reload changed. Secrets are not shown.
type SettingChange struct {
	Path string `json:"path"`           // such as rules[AmountDrift].expr
	Kind string `json:"kind"`           // "changed", "added", "removed" or "reordered"
	From string `json:"from,omitempty"` // of a single value, at most 200 bytes
	To   string `json:"to,omitempty"`
}

// A SilenceChange is the body of a KindSilence entry: the silence as it is from the
// entry's StreamSeq on. An expired one ended, or never begins.
type SilenceChange struct {
	Type     string    `json:"type"`   // "silence"
	Action   string    `json:"action"` // "created", "updated" or "expired"
	Silence  string    `json:"silence"`
	Kind     string    `json:"kind"` // "silence", "maintenance" or "expected"
	Matchers []string  `json:"matchers"`
	StartsAt time.Time `json:"starts_at"` // wall time of a silence, event time of the others
	EndsAt   time.Time `json:"ends_at"`
	Comment  string    `json:"comment"`
	Actor    string    `json:"actor"`
}

// An EpochChange is the body of a KindEpoch entry: the stream is not the one
// the last checkpoint knew, or messages are gone for good.
type EpochChange struct {
	Type   string `json:"type"` // "epoch"
	Cause  string `json:"cause"`
	Stream string `json:"stream"`
	Epoch  uint64 `json:"epoch"`
	From   uint64 `json:"from_seq"`
	To     uint64 `json:"to_seq"`
}
