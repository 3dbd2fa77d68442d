package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
)

// A Reload reads the configuration again and returns when what it says is in
// force. ConfigFaults say why it is refused; nothing has changed then.
type Reload func(ctx context.Context, actor string) (Reloaded, error)

// Reloaded is what a reload did.
type Reloaded struct {
	Hash    string                 `json:"hash"`    // of the configuration in force
	Changes []ledger.SettingChange `json:"changes"` // empty: it says what it said before
}

// ConfigFaults is everything wrong with a configuration.
type ConfigFaults []ConfigFault

// A ConfigFault is one thing wrong with a configuration, and where it stands.
type ConfigFault struct {
	File    string
	Line    int // from 1; 0 when it has no place in a file
	Column  int
	Path    string // such as rules[2].expr
	Message string // what is wrong, and what to do
}

// Error lists the faults, one a line.
func (fs ConfigFaults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Message
		if f.Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
		}
	}
	return strings.Join(lines, "\n")
}

// SetDecoders makes events over HTTP be read by other decoders from now on. It is
// for Servers with Options.Ingest.
func (s *Server) SetDecoders(decoders []*event.Decoder) { s.inlet.use(decoders) }

// postReload answers POST /-/reload.
func (s *Server) postReload(w http.ResponseWriter, r *request) error {
	if s.Reload == nil {
		return notFound("reloading over HTTP is off: set http.reload: true and restart driftd, or send it SIGHUP")
	}
	done, err := s.Reload(r.Context(), r.actor())
	var faults ConfigFaults
	if errors.As(err, &faults) {
		p := problem{Status: http.StatusUnprocessableEntity, Detail: "the configuration is refused, and the one before it stays in force:\n" + faults.Error()}
		for _, f := range faults {
			p.Errors = append(p.Errors, fault{Path: f.Path, Message: f.Message, File: f.File, Line: f.Line, Column: f.Column})
		}
		return p
	}
	if err != nil {
		return err
	}
	if done.Changes == nil {
		done.Changes = []ledger.SettingChange{}
	}
	return sendJSON(w, http.StatusOK, done)
}
