package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/picture"
)

const pngType = "image/png"

// getPicture draws the signal that the alert of a ledger entry is about, from the
// entry alone: it never changes.
func (s *Server) getPicture(w http.ResponseWriter, r *request) error {
	e, err := s.entry(r)
	if err != nil {
		return err
	}
	missing := notFound(fmt.Sprintf("entry %d has no picture: those of alerts that began with a signal that moved have", e.Seq))
	var a ledger.Alert
	if e.Kind != ledger.KindAlert {
		return missing
	}
	if err := json.Unmarshal(e.Body, &a); err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	drawn, err := picture.OfAlert(&a)
	if errors.Is(err, picture.ErrHistogram) {
		return missing
	}
	if err != nil {
		return err
	}
	return sendText(w, pngType, drawn)
}
