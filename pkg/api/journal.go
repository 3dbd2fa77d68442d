package api

import (
	"errors"
	"net/http"

	"driftd.dev/driftd/pkg/ledger"
)

const (
	entryLimit = 1000   // most entries of one answer
	entryScan  = 10_000 // most entries looked at for one answer
)

func (s *Server) getLedger(w http.ResponseWriter, r *request) error {
	after, limit, err := r.entryRange()
	if err != nil {
		return err
	}
	entries, err := s.Reader.Entries(after, limit)
	if err != nil {
		return err
	}
	next := ""
	if len(entries) == limit {
		next = cursorOf(entries[len(entries)-1].Seq)
	}
	return sendJSON(w, http.StatusOK, newList(entries, next))
}

// entryRange reads after, or cursor by which an answer continues, and limit.
func (r *request) entryRange() (after uint64, limit int, err error) {
	name := "after"
	if r.has("cursor") {
		name = "cursor"
	}
	if after, err = r.number(name, 0, 0, 1<<62); err != nil {
		return 0, 0, err
	}
	n, err := r.number("limit", 100, 1, entryLimit)
	return after, int(n), err
}

// getTriggers lists the ledger's entries that ask machines to do something.
func (s *Server) getTriggers(w http.ResponseWriter, r *request) error {
	after, limit, err := r.entryRange()
	if err != nil {
		return err
	}
	items, next := []ledger.Entry{}, ""
	for scanned := 0; next == ""; {
		entries, err := s.Reader.Entries(after, entryLimit)
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.Seq
			if model := r.text("model"); !isTrigger(e.Kind) || model != "" && model != e.Model {
				continue
			}
			if items = append(items, e); len(items) == limit {
				next = cursorOf(after)
				break
			}
		}
		scanned += len(entries)
		switch {
		case len(entries) < entryLimit && next == "":
			return sendJSON(w, http.StatusOK, newList(items, ""))
		case scanned >= entryScan && next == "":
			next = cursorOf(after)
		}
	}
	return sendJSON(w, http.StatusOK, newList(items, next))
}

func isTrigger(k ledger.Kind) bool {
	return k == ledger.KindRetrain || k == ledger.KindRollback || k == ledger.KindPromote
}

// A proof is the answer of /api/v1/ledger/verify.
type proof struct {
	OK      bool   `json:"ok"`
	Entries uint64 `json:"entries"` // proven, from the first that retention kept
	Head    string `json:"head"`
	Error   string `json:"error,omitempty"` // where the chain is broken
}

func (s *Server) verifyLedger(w http.ResponseWriter, r *request) error {
	chain, err := s.Reader.VerifyLedger(r.Context())
	out := proof{OK: err == nil, Entries: chain.Seq, Head: chain.Hash.String()}
	switch {
	case errors.Is(err, ledger.ErrBroken):
		out.Error = err.Error()
	case err != nil:
		return err
	}
	return sendJSON(w, http.StatusOK, out)
}

func (s *Server) getConfig(w http.ResponseWriter, _ *request) error {
	if s.Config == nil {
		return notFound("this driftd runs without a configuration file")
	}
	return sendText(w, "application/yaml", s.Config())
}

func (s *Server) getSchema(w http.ResponseWriter, _ *request) error {
	if s.Schema == nil {
		return notFound("this driftd knows no schema of its configuration")
	}
	return sendText(w, "application/schema+json", s.Schema)
}
