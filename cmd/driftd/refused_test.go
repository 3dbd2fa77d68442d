package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWhatTheDaemonRefuses: whatever a command asks of a daemon, what it answers becomes
// the exit code that the README has.
func TestWhatTheDaemonRefuses(t *testing.T) {
	dir := t.TempDir()
	rules := put(t, dir, "rules.yaml", []byte("rules: [{alert: A, expr: events == 0}]\n"))
	rows := put(t, dir, "rows.csv", []byte("id,size\n1,2\n2,3\n3,4\n"))
	var status int
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		if r.URL.Path == "/api/v1/status" && r.Method == http.MethodGet { // it is there
			fmt.Fprintln(w, "{}")
			return
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"title":"%s","detail":"refused as a test","request_id":"1"}`, http.StatusText(status))
	}))
	defer daemon.Close()
	for answer, want := range map[int]code{
		http.StatusBadRequest: codeUsage, http.StatusUnprocessableEntity: codeUsage,
		http.StatusUnauthorized: codeFailed, http.StatusForbidden: codeFailed, http.StatusNotFound: codeFailed, http.StatusConflict: codeFailed,
		http.StatusRequestEntityTooLarge: codeFailed, http.StatusInternalServerError: codeFailed,
		http.StatusTooManyRequests: codeTemporary, http.StatusBadGateway: codeTemporary, http.StatusServiceUnavailable: codeTemporary, http.StatusGatewayTimeout: codeTemporary,
	} {
		for _, args := range [][]string{
			{"silence", "add", "model=fraud", "--for", "2h", "--comment", "x"},
			{"silence", "update", "01K", "--for", "2h"},
			{"silence", "expire", "01K"},
			{"silence", "list"},
			{"incident", "ack", "01K"},
			{"incident", "note", "01K", "text"},
			{"incident", "diagnose", "01K", "--cause", "moon"},
			{"incident", "worth", "01K", "no"},
			{"incident", "close", "01K"},
			{"incident", "list", "--state", "open"},
			{"baseline", "approve", "b-1"},
			{"baseline", "create", "--model", "fraud", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T01:00:00Z"},
			{"baseline", "import", rows, "--model", "fraud", "--types", "id=id"},
			{"backtest", "--rules", rules, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "--model", "fraud"},
			{"notify", "test", "--receiver", "oncall"},
			{"report", "digest"},
			{"drift", "fraud", "--window", "1h"},
			{"model", "show", "fraud"},
			{"ledger", "export"},
		} {
			status = answer
			var out, errOut bytes.Buffer
			got := code(run(append(args, "--server", daemon.URL), strings.NewReader(""), &out, &errOut))
			if got != want || !strings.Contains(errOut.String(), "refused as a test") {
				t.Errorf("%d of %q: exit code %d, want %d: %s", answer, args, got, want, errOut.String())
			}
		}
	}
	daemon.Close()
	var out, errOut bytes.Buffer
	if got := code(run([]string{"silence", "list", "--server", daemon.URL}, strings.NewReader(""), &out, &errOut)); got != codeTemporary {
		t.Errorf("nobody there: exit code %d: %s", got, errOut.String())
	}
}
