package api

import (
	"errors"
	"fmt"
	"net/http"
)

// A ReceiverTry is what came of telling a receiver of an alert that is none.
type ReceiverTry struct {
	Receiver string    `json:"receiver"`
	OK       bool      `json:"ok"` // the receiver took every message
	Steps    []TryStep `json:"steps"`
}

// A TryStep is one message of a ReceiverTry.
type TryStep struct {
	Status string  `json:"status"`          // "firing" or "resolved"; "setup": none could be made
	Error  string  `json:"error,omitempty"` // what the receiver said, without secrets
	Took   float64 `json:"took_s"`
}

// tryReceiver sends a test to one receiver.
func (s *Server) tryReceiver(r *request, _ []byte) (int, any, error) {
	if s.TryReceiver == nil {
		return 0, nil, problem{Status: http.StatusServiceUnavailable, Detail: "this driftd tells no receivers"}
	}
	name := r.PathValue("name")
	out, err := s.TryReceiver(r.Context(), name)
	if errors.Is(err, ErrNotFound) {
		return 0, nil, notFound(fmt.Sprintf("there is no receiver %q to try; /api/v1/status lists them, of which nats, the signals, cannot be tried", name))
	}
	if err != nil {
		return 0, nil, err
	}
	s.Log.Info().Str("receiver", name).Str("actor", r.actor()).Bool("ok", out.OK).Msg("a receiver was tested")
	return http.StatusOK, out, nil
}
