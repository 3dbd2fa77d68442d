package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// errAway says that no daemon answers at --server: nothing was changed.
var errAway = errors.New("no daemon answers")

// answerBytes bounds one answer of the daemon.
const answerBytes = 256 << 20

// A client talks to the API of a running daemon.
type client struct {
	base  string // scheme and host
	token string
	http  *http.Client
}

// A problem is an error that the API answered with, by RFC 9457.
type problem struct {
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Path    string `json:"path"`
		Message string `json:"message"`
	} `json:"errors"`
}

// Error implements error.
func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, f := range p.Errors {
		if !strings.Contains(text, f.Message) {
			text += "; " + f.Path + ": " + f.Message
		}
	}
	if p.Status >= http.StatusInternalServerError && p.RequestID != "" {
		text += " (request " + p.RequestID + ")"
	}
	return text
}

// client returns a client of --server.
func (e *env) client() (*client, error) {
	u, err := url.Parse(e.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, badUsage("--server %q: write an address such as %s", e.server, defaultServer)
	}
	c := &client{base: u.Scheme + "://" + u.Host, http: &http.Client{Timeout: e.timeout}}
	if u.Scheme == "https" && e.tls != (tlsFiles{}) {
		config, err := e.tls.config()
		if err != nil {
			return nil, err
		}
		c.http.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: e.timeout,
		}
	}
	c.token, _ = e.lookup("DRIFTD_TOKEN")
	if e.tokenFile != "" {
		text, err := os.ReadFile(e.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		c.token = strings.TrimSpace(string(text))
	}
	return c, nil
}

// tlsFiles are the files, in PEM, that an https --server is reached by; "" for
// the system's CAs, and for no client certificate.
type tlsFiles struct{ ca, cert, key string }

func (f tlsFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("--cacert: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--cacert: %s holds no certificate in PEM", f.ca)
		}
	}
	switch {
	case f.cert == "" && f.key != "":
		return nil, badUsage("--key needs --cert: the certificate that it belongs to")
	case f.cert != "":
		key := f.key
		if key == "" {
			key = f.cert
		}
		pair, err := tls.LoadX509KeyPair(f.cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert %s with --key %s: %w", f.cert, key, err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &pair, nil // also where the daemon names other CAs: it then says that it refuses this one
		}
	}
	return c, nil
}

// distrust says what to do where the two ends did not come to trust each other;
// nil where something else is wrong. Somebody answers there, so that it would be
// wrong to open the store instead.
func (c *client) distrust(err error) error {
	var (
		untrusted *tls.CertificateVerificationError
		refused   *net.OpError
	)
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%s: %w: name the CA that signed its certificate with --cacert", c.base, err)
	case errors.As(err, &refused) && refused.Op == "remote error": // so crypto/tls calls an alert of the other side
		return fmt.Errorf("%s refuses the TLS handshake: %w: is --cert signed by a CA of http.tls.client_ca_file?", c.base, err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s: %w: it speaks no TLS, use an address with http://", c.base, err)
	}
	return nil
}

// get reads a JSON answer into value; a *json.RawMessage takes it as it is.
func (c *client) get(ctx context.Context, path string, query url.Values, value any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, call{}, value)
}

// A call is what a request carries beyond its address.
type call struct {
	body []byte
	kind string // media type of the body
	key  string // Idempotency-Key: the same call twice is done once
}

func (c *client) do(ctx context.Context, method, path string, with call, value any) error {
	req, err := c.request(ctx, method, path, with.body)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	for name, text := range map[string]string{"Content-Type": with.kind, "Idempotency-Key": with.key} {
		if text != "" {
			req.Header.Set(name, text)
		}
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return c.away(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytes+1))
	switch {
	case err != nil:
		return c.away(ctx, err)
	case len(body) > answerBytes:
		return fmt.Errorf("%s %s: the answer is larger than %d MiB; ask for less", method, c.base+path, answerBytes>>20)
	case answer.StatusCode >= http.StatusBadRequest:
		return refusal(answer, body)
	case value == nil:
		return nil
	}
	if err := json.Unmarshal(body, value); err != nil {
		return fmt.Errorf("%s %s: the answer is not what driftd sends: %w: does another program listen there?", method, c.base+path, err)
	}
	return nil
}

func (c *client) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// download returns an answer of any length, for as long as ctx lasts.
func (c *client) download(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	patient := http.Client{Transport: c.http.Transport}
	answer, err := patient.Do(req)
	if err != nil {
		return nil, c.away(ctx, err)
	}
	if answer.StatusCode < http.StatusBadRequest {
		return wholeBody{answer.Body}, nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerBytes))
	return nil, errors.Join(refusal(answer, body), err, answer.Body.Close())
}

// A wholeBody tells an answer that was broken off from one that ends too early: the
// first is no fault of what it holds.
type wholeBody struct{ io.ReadCloser }

// Read implements io.Reader.
func (b wholeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = withCode(codeTemporary, errors.New("the daemon broke its answer off: its log says why, if it was not stopped; try again"))
	}
	return n, err
}

// away reports that the daemon could not be reached, unless it was the user who
// gave up.
func (c *client) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if distrust := c.distrust(err); distrust != nil {
		return distrust
	}
	return withCode(codeTemporary, fmt.Errorf("%w at %s: %w: start it with driftd serve, or say where it is with --server", errAway, c.base, err))
}

// refusal makes an error of an answer that is one.
func refusal(answer *http.Response, body []byte) error {
	p := &problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Detail == "" && p.Title == "" {
		p.Detail = fmt.Sprintf("%s answered %s", answer.Request.URL.Redacted(), answer.Status)
	}
	p.Status = answer.StatusCode
	return p
}

// list reads all pages of a list.
func list[T any](ctx context.Context, c *client, path string, query url.Values) (items []T, err error) {
	items = []T{}
	if query == nil {
		query = url.Values{}
	}
	for {
		var page struct {
			Items []T     `json:"items"`
			Next  *string `json:"next_cursor"`
		}
		if err := c.get(ctx, path, query, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.Next == nil || *page.Next == "" {
			return items, nil
		}
		query.Set("cursor", *page.Next)
	}
}
