package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"driftd.dev/driftd/pkg/ledger"
)

// A ledgerPage lists entries, the newest first.
type ledgerPage struct {
	pageHead
	Kind, Model string
	Kinds       []ledger.Kind
	Entries     []happening
	Older       string
}

var ledgerKinds = []ledger.Kind{
	ledger.KindAlert, ledger.KindNote, ledger.KindRetrain, ledger.KindRollback, ledger.KindPromote, ledger.KindBaseline, ledger.KindConfig, ledger.KindEpoch, ledger.KindSilence,
	ledger.KindIncident, ledger.KindDigest,
}

func (s *Server) getLedgerPage(w http.ResponseWriter, r *request) error {
	before, err := r.number("before", 0, 1, 1<<62)
	if err != nil {
		return err
	}
	data := ledgerPage{pageHead: s.head("Ledger", s.Reader.Snapshot()), Kind: r.text("kind"), Model: r.text("model"), Kinds: ledgerKinds}
	if data.Kind != "" && !slices.Contains(ledgerKinds, ledger.Kind(data.Kind)) {
		return badParameter("kind", data.Kind, fmt.Sprintf("must be one of %v", ledgerKinds))
	}
	if before == 0 {
		data.pageHead = data.live()
	}
	const rows = pageRows / 2
	data.Entries, err = s.newest(func(h *happening) bool {
		return (data.Kind == "" || string(h.Kind) == data.Kind) && (data.Model == "" || h.Model == data.Model)
	}, before, rows)
	if err != nil {
		return err
	}
	if n := len(data.Entries); n == rows && data.Entries[n-1].Seq > 1 {
		data.Older = linkTo("/ledger", append(r.keep("before"), "before", strconv.FormatUint(data.Entries[n-1].Seq, 10))...)
	}
	return sendPage(w, "ledger", data)
}

// entry finds the ledger entry that a path names.
func (s *Server) entry(r *request) (ledger.Entry, error) {
	text := r.PathValue("seq")
	missing := notFound(fmt.Sprintf("the ledger has no entry %q; /api/v1/ledger lists them", text))
	seq, err := parseUint(text)
	if err != nil || seq == 0 || seq > 1<<62 {
		return ledger.Entry{}, missing
	}
	entries, err := s.Reader.Entries(seq-1, 1)
	switch {
	case err != nil:
		return ledger.Entry{}, err
	case len(entries) == 0 || entries[0].Seq != seq:
		return ledger.Entry{}, missing
	}
	return entries[0], nil
}

func (s *Server) getEntry(w http.ResponseWriter, r *request) error {
	e, err := s.entry(r)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, e)
}

const recordBytes = 28 << 10 // of the body of an entry, escaped

// An entryPage is one entry of the ledger, which is where messages link to.
type entryPage struct {
	pageHead
	Item             happening
	ModelLink        string
	Story, AlertLink string
	Findings         []findingRow
	Why              *why   // nil: the entry does not explain itself
	JSON             string // cut
}

func (s *Server) getEntryPage(w http.ResponseWriter, r *request) error {
	e, err := s.entry(r)
	if err != nil {
		return err
	}
	data := entryPage{pageHead: s.head(fmt.Sprintf("Entry %d", e.Seq), s.Reader.Snapshot()), Item: newHappening(e)}
	if e.Model != "" {
		data.ModelLink = modelPath(e.Model)
	}
	if data.Item.Key != "" {
		data.AlertLink = "/alerts/" + url.PathEscape(data.Item.Key)
	}
	if data.Item.Incident != "" {
		data.Story = incidentPath(data.Item.Incident)
	}
	if data.Item.Alert != nil {
		data.Findings, data.Why = findingRows(data.Item.Alert), newWhy(e.Seq, data.Item.Alert)
	}
	var body bytes.Buffer
	if err := json.Indent(&body, e.Body, "", "  "); err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	data.JSON = shorten(unescaped.Replace(body.String()), recordBytes)
	return sendPage(w, "entry", data)
}

// unescaped writes <, > and & in JSON as people read them. The template escapes them
// for the page.
var unescaped = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

// A baselinesPage lists references, and where they come from.
type baselinesPage struct {
	pageHead
	Model     string
	Baselines []baselineItem
	More      int
}

func (s *Server) getBaselinesPage(w http.ResponseWriter, r *request) error {
	all, err := s.Reader.Baselines()
	if err != nil {
		return err
	}
	snapshot := s.Reader.Snapshot()
	data, active := baselinesPage{pageHead: s.head("Baselines", snapshot), Model: r.text("model")}, snapshot.active()
	for _, b := range all {
		switch {
		case data.Model != "" && b.Model != data.Model:
		case len(data.Baselines) == pageRows:
			data.More++
		default:
			data.Baselines = append(data.Baselines, newBaselineItem(b, active[b.ID]))
		}
	}
	return sendPage(w, "baselines", data)
}

// A statusPage is how driftd itself does.
type statusPage struct {
	pageHead
	Ready   bool
	Reasons []string
	Status  statusJSON
}

func (s *Server) getStatusPage(w http.ResponseWriter, _ *request) error {
	snapshot := s.Reader.Snapshot()
	return sendPage(w, "status", statusPage{s.head("Status", snapshot).live(), len(snapshot.NotReady) == 0, snapshot.NotReady, newStatus(snapshot)})
}
