package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/api"
)

func TestTryReceiver(t *testing.T) {
	for name, c := range map[string]struct {
		try    func(context.Context, string) (api.ReceiverTry, error)
		status int
		says   string
	}{
		"taken": {func(_ context.Context, name string) (api.ReceiverTry, error) {
			return api.ReceiverTry{Receiver: name, OK: true, Steps: []api.TryStep{{Status: "firing", Took: 0.5}}}, nil
		}, http.StatusOK, `{"receiver":"on call","ok":true,"steps":[{"status":"firing","took_s":0.5}]}`},
		"unknown": {func(_ context.Context, name string) (out api.ReceiverTry, err error) {
			return out, fmt.Errorf("%w: %s", api.ErrNotFound, name)
		}, http.StatusNotFound, `there is no receiver \"on call\"`},
		"no receivers": {nil, http.StatusServiceUnavailable, "tells no receivers"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, newWorld(t), func(o *api.Options) { o.TryReceiver = c.try })
			answer := call(t, s.Handler(), http.MethodPost, "/api/v1/receivers/on%20call/test", "")
			if body := text(t, answer); answer.StatusCode != c.status || !strings.Contains(body, c.says) {
				t.Errorf("status %d: %s, want %d with %s", answer.StatusCode, body, c.status, c.says)
			}
		})
	}
}
