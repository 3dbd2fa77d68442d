package ledger

import "time"

// An IncidentChange is the body of a KindIncident entry: what somebody did about an
// incident, or whom another configuration led it to. Which fields are set follows from Action.
type IncidentChange struct {
	Type     string    `json:"type"` // "incident"
	Incident string    `json:"incident"`
	Action   string    `json:"action"` // "acknowledge", "note", "diagnose", "remedy", "worth", "close" or "address"
	Actor    string    `json:"actor"`
	At       time.Time `json:"at"`              // wall time; of address that of the stream
	Text     string    `json:"text,omitempty"`  // of address: the receivers that hear of the incident from now on
	Known    bool      `json:"known,omitempty"` // of acknowledge: the change is known, and what drifts by it ends
	Cause    string    `json:"cause,omitempty"`
	Remedy   string    `json:"remedy,omitempty"`
	Result   string    `json:"result,omitempty"`
	Worth    string    `json:"worth,omitempty"`
}

// A Digest is the body of a KindDigest entry: the incidents that opened in a span of
// event time [From, To), and what people said of those since RatedFrom.
type Digest struct {
	Type      string    `json:"type"` // "digest"
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	RatedFrom time.Time `json:"rated_from"`
	Incidents int       `json:"incidents"`
	Pages     int       `json:"pages"` // of them: those that were a page
	Open      int       `json:"open"`  // of them: those that still are
	// Unheeded are ids of the pages that ended and that nobody acknowledged, the first 20.
	Unheeded  []string       `json:"unheeded"`
	Models    []DigestModel  `json:"models"`  // most incidents first, at most 50
	Causes    []DigestCause  `json:"causes"`  // most incidents first; "" is no diagnosis
	Budgets   []DigestBudget `json:"budgets"` // by name
	Rules     []Precision    `json:"rules"`   // that had incidents since RatedFrom, by name, at most 200
	Proposals []Proposal     `json:"proposals"`
}

// A DigestModel counts the incidents of one model. One of several models counts for
// each.
type DigestModel struct {
	Model     string `json:"model"`
	Incidents int    `json:"incidents"`
	Pages     int    `json:"pages"`
	Cause     string `json:"cause,omitempty"` // the most frequent diagnosis
}

// A DigestCause counts the incidents of one cause.
type DigestCause struct {
	Cause     string `json:"cause"`
	Incidents int    `json:"incidents"`
}

// A DigestBudget is what was drawn from a budget, and whether it was worth it.
type DigestBudget struct {
	Budget string  `json:"budget"`
	Pages  float64 `json:"pages"` // allowed in Per
	Per    string  `json:"per"`
	Spent  int     `json:"spent"` // in the last Per of event time
	Drawn  int     `json:"drawn"` // of them in the span of the digest
	Precision
}

// A Precision counts what people answered to "was it worth waking for?", of the
// incidents of one rule or the pages of one budget.
type Precision struct {
	Rule       string   `json:"rule,omitempty"`
	Yes        int      `json:"yes"`
	No         int      `json:"no"`
	Unsure     int      `json:"unsure"`
	Unanswered int      `json:"unanswered"`
	Precision  *float64 `json:"precision"` // yes / (yes + no), 0 to 1; null without either
}

// A Proposal says what should be tuned, and by which numbers.
type Proposal struct {
	Kind    string `json:"kind"` // "imprecise_rule", "silent_rule", "unheeded" or "frequent_cause"
	Subject string `json:"subject"`
	Text    string `json:"text"`
}
