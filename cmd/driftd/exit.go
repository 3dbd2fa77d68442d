package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A code is an exit code of the contract.
type code int

// The exit codes. A service manager must not restart after usage, refused,
// locked and configuration: a restart cannot help.
const (
	codeOK        code = 0
	codeFailed    code = 1  // the operation failed
	codeUsage     code = 2  // flags or arguments
	codeRefused   code = 3  // the store is refused, or a check has findings
	codeCondition code = 4  // what --fail-on names was found
	codeLocked    code = 5  // another process has the store
	codeTemporary code = 75 // try again later: NATS or the daemon is away
	codeConfig    code = 78 // the configuration is bad
)

// codeOf is the one place in which an error becomes an exit code.
func codeOf(err error) code {
	var (
		coded     codedError
		usage     usageError
		faults    config.Faults
		retention *stream.RetentionError
		refused   *problem
	)
	switch {
	case err == nil:
		return codeOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &usage):
		return codeUsage
	case errors.As(err, &refused):
		return refused.code()
	case errors.As(err, &faults):
		return codeConfig
	case errors.Is(err, daemon.ErrConfiguration), errors.As(err, &retention):
		return codeConfig
	case errors.Is(err, store.ErrLocked):
		return codeLocked
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrNewerSchema), errors.Is(err, store.ErrOccupied):
		return codeRefused
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrConnectionClosed):
		return codeTemporary
	}
	return codeFailed
}

// code is that of what the daemon refuses. Who may not do it (401, 403), what there is
// not (404) and what cannot be as things are (409) has failed: other arguments, or the same
// later, may do.
func (p *problem) code() code {
	switch p.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity: // what was typed, as only the daemon can see
		return codeUsage
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return codeTemporary
	}
	return codeFailed
}

// A codedError ends the process with a code of the command's choice. Without
// err there is nothing to say beyond what was printed.
type codedError struct {
	code code
	err  error
}

func (e codedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e codedError) Unwrap() error { return e.err }

// withCode gives err an exit code; nil stays nil.
func withCode(c code, err error) error {
	if err == nil {
		return nil
	}
	return codedError{code: c, err: err}
}

// A usageError is a mistake in flags or arguments.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

func (e usageError) Unwrap() error { return e.err }

// badUsage reports a mistake in flags or arguments that only the command can see.
func badUsage(format string, args ...any) error {
	return usageError{err: fmt.Errorf(format, args...)}
}

// complain prints the error of a command on stderr. Lists of configuration faults
// are printed as they are: each begins with its own file, line and column.
func (e *env) complain(err error, command string) {
	var (
		coded  codedError
		usage  usageError
		faults config.Faults
	)
	switch {
	case err == nil, errors.As(err, &coded) && coded.err == nil:
		return
	case errors.As(err, &faults) && err.Error() == faults.Error():
		fmt.Fprintln(e.err, faults.Error())
		return
	}
	text := err.Error()
	if errors.Is(err, context.Canceled) { // whoever pressed Ctrl-C knows no contexts
		text = strings.Replace(text, context.Canceled.Error(), "interrupted", 1)
	}
	fmt.Fprintf(e.err, "driftd: %s\n", text)
	if errors.As(err, &usage) {
		fmt.Fprintf(e.err, "Run %q for help.\n", command+" --help")
	}
}
