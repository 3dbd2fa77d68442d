package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// A token is a line of the tokens file: who, what they may, the SHA-256 of what
// they show, and until when. Tokens are 256 random bits, so that a fast hash is enough:
// there is nothing to guess.
type token struct {
	Identity
	hash    [sha256.Size]byte
	expires time.Time // not good from then on; zero = for ever
}

// expired reports whether the token is not good any more.
func (t *token) expired(now time.Time) bool {
	return !t.expires.IsZero() && !now.Before(t.expires)
}

const (
	maxTokens   = 1000 // of one file: each request is compared with all
	tokenPrefix = "driftd_"
)

// tokenName has no colon: a name never looks like another kind of actor, such as
// http:127.0.0.1.
var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// NewToken makes a token from 256 random bits: what its owner is given, once,
// and the line for the tokens file, which does not tell it. Unless expires is
// zero the token is good until then, in whole seconds.
func NewToken(name string, role Role, expires time.Time) (secret, line string, err error) {
	if !tokenName.MatchString(name) {
		return "", "", fmt.Errorf("%q is no name of a token: up to 64 letters, digits and . _ @ -", name)
	}
	if role < IngestOnly || role > Admin {
		return "", "", fmt.Errorf("a token has the role ingest, read, label, operate or admin, not %s", role)
	}
	random := make([]byte, sha256.Size)
	_, _ = rand.Read(random) // never fails
	secret = tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(secret))
	line = name + ":" + role.String() + ":" + hex.EncodeToString(sum[:])
	if !expires.IsZero() {
		line += ":" + expires.UTC().Format(time.RFC3339)
	}
	return secret, line, nil
}

// parseTokens reads a tokens file: name:role:sha256 a line, with :expires behind
// it or not, blank lines, and comments after #. Its error joins every fault as file:line, and shows no line.
func parseTokens(file string, text []byte) ([]token, error) {
	var out []token
	var faults []error
	lines := map[string]int{} // of names and hashes
	for i, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		t, err := parseToken(string(line))
		if err == nil {
			err = errors.Join(unique(lines, t.Name, "name", i+1), unique(lines, ":"+string(t.hash[:]), "hash", i+1))
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s:%d: %w", file, i+1, err))
		}
		out = append(out, t)
	}
	switch {
	case len(faults) > 0:
	case len(out) == 0:
		faults = append(faults, fmt.Errorf("%s:1: no token: driftd token new makes one", file))
	case len(out) > maxTokens:
		faults = append(faults, fmt.Errorf("%s: %d tokens; %d at most", file, len(out), maxTokens))
	}
	if len(faults) > 10 { // a file of another kind
		faults = append(faults[:10], fmt.Errorf("%s: and %d more lines", file, len(faults)-10))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return out, nil
}

func unique(lines map[string]int, key, what string, line int) error {
	if first := lines[key]; first > 0 {
		return fmt.Errorf("the %s is that of line %d", what, first)
	}
	lines[key] = line
	return nil
}

func parseToken(line string) (t token, err error) {
	part := strings.SplitN(line, ":", 4) // times have colons
	if len(part) < 3 {
		return t, errors.New("expected name:role:sha256 or name:role:sha256:expires, as driftd token new prints it")
	}
	if !tokenName.MatchString(part[0]) {
		return t, errors.New("expected a name of up to 64 letters, digits and . _ @ - before the first colon")
	}
	if t.Role, err = ParseRole(part[1]); err != nil {
		return t, errors.New("expected the role ingest, read, label, operate or admin between the colons")
	}
	if n, err := hex.Decode(t.hash[:], []byte(part[2][:min(len(part[2]), 2*len(t.hash))])); err != nil || n != len(t.hash) || len(part[2]) != 2*n {
		return t, errors.New("expected the SHA-256 of the token in 64 hexadecimal digits after the second colon")
	}
	if len(part) == 4 {
		if t.expires, err = ParseExpiry(part[3]); err != nil {
			return t, errors.New("expected the end of the token after the third colon: a date, or a time such as 2027-01-31T12:00:00Z")
		}
	}
	t.Name = part[0]
	return t, nil
}

// ParseExpiry reads the end of a token: a time in RFC 3339, or a date, on which
// the token is not good any more, in UTC.
func ParseExpiry(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}

// find returns the token that secret is, nil for none. It takes as long whichever
// it is, and whether it is one.
func find(tokens []token, secret string) *token {
	sum := sha256.Sum256([]byte(secret))
	found := -1
	for i := range tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(tokens[i].hash[:], sum[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return &tokens[found]
}
