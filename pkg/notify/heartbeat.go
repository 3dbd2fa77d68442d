package notify

import (
	"context"
	"fmt"
	"net/http"

	"driftd.dev/driftd/pkg/ledger"
)

// HeartbeatOptions configure a Heartbeat sink.
type HeartbeatOptions struct {
	URL    string // of a dead man's switch; mostly a secret, and kept out of errors
	Method string // POST, with what was checked as JSON, or GET without a body; "" is POST
	Client *http.Client
}

// Heartbeat calls a dead man's switch: a service outside that raises the alarm when it
// is not called for some time.
type Heartbeat struct {
	ep     endpoint
	method string
}

// NewHeartbeat returns a Heartbeat sink, or says what is wrong with the options.
func NewHeartbeat(o HeartbeatOptions) (*Heartbeat, error) {
	ep, err := newEndpoint("heartbeat url", o.URL, "", o.Client)
	if err != nil {
		return nil, err
	}
	switch o.Method {
	case "":
		o.Method = http.MethodPost
	case http.MethodGet, http.MethodPost:
	default:
		return nil, fmt.Errorf("heartbeat method %q is neither GET nor POST", o.Method)
	}
	return &Heartbeat{ep: ep, method: o.Method}, nil
}

// Send implements Sink. The body is the entry's, as it is.
func (h *Heartbeat) Send(ctx context.Context, d ledger.Delivery) error {
	body := []byte(d.Entry.Body)
	if h.method == http.MethodGet {
		body = nil
	}
	_, _, err := h.ep.call(ctx, h.method, body, nil)
	return err
}
