package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

const (
	maxResponse = 64 << 10 // bytes read of a receiver's answer
	maxSnippet  = 120      // bytes of it quoted in an error
	userAgent   = "driftd"
)

// ClientOptions configure NewClient.
type ClientOptions struct {
	Timeout time.Duration // of one call with its connection; 10 s
	// AllowPrivate lists the non-public networks that receivers may be in. The
	// address that a connection goes to is checked, not the name: a name whose
	// answer changes cannot lead driftd to its host's neighbours.
	AllowPrivate []netip.Prefix
	// Proxy is on the way to every receiver; nil: none. The address checked is the
	// proxy's: which receivers it reaches is its own affair.
	Proxy *url.URL
}

// SiteNetworks are those that an operator's own servers may be in: loopback,
// private (RFC 1918, RFC 4193) and shared address space (RFC 6598). Link-local is
// not: clouds answer there with credentials.
func SiteNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("100.64.0.0/10"),
	}
}

// AnyAddress is the AllowPrivate that allows every network.
func AnyAddress() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

// NewClient returns the HTTP client for receivers: bounded in time, no
// redirects (a receiver is where the configuration says), no proxy of the
// environment, only public addresses unless allowed.
func NewClient(o ClientOptions) *http.Client {
	orDefault(&o.Timeout, 10*time.Second)
	dialer := guardedDialer(o.Timeout, o.AllowPrivate)
	var proxy func(*http.Request) (*url.URL, error)
	if o.Proxy != nil {
		proxy = http.ProxyURL(o.Proxy)
	}
	return &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    o.Timeout,
			ResponseHeaderTimeout:  o.Timeout,
			MaxResponseHeaderBytes: maxResponse,
			MaxIdleConnsPerHost:    1, // a worker makes one call at a time
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// guardedDialer connects to public addresses, and to those of listed networks.
func guardedDialer(timeout time.Duration, private []netip.Prefix) *net.Dialer {
	return &net.Dialer{
		Timeout: timeout,
		Control: func(_, address string, _ syscall.RawConn) error { return allowed(address, private) },
	}
}

// notPublic are the special-purpose networks (RFC 6890) that the methods of
// netip.Addr do not know: shared address space, this network, IETF protocol,
// benchmarking, reserved; NAT64 and 6to4 could wrap any of the others.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("2002::/16"),
}

// allowed refuses an address that is not public and in no listed network.
func allowed(address string, private []netip.Prefix) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q is not an IP and a port", address)
	}
	ip := ap.Addr().WithZone("").Unmap()
	public := ip.IsGlobalUnicast() && !ip.IsPrivate()
	for _, p := range notPublic {
		public = public && !p.Contains(ip)
	}
	if public {
		return nil
	}
	for _, p := range private {
		if p.Contains(ip) {
			return nil
		}
	}
	return fmt.Errorf("address %s is not public: list its network in allow_private to send there", ip)
}

// An endpoint is where a sink posts to. The URL may hold a secret (a Slack
// hook is one), so it is kept behind a function: printing a sink shows nothing.
type endpoint struct {
	client *http.Client
	url    func() string
	hide   func() []string // strings that no error may contain
}

// newEndpoint checks a base URL and appends path to it. what names it in errors.
func newEndpoint(what, base, path string, client *http.Client, secrets ...string) (endpoint, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		// The cause would quote the URL.
		return endpoint{}, fmt.Errorf("%s is not an absolute http or https URL", what)
	}
	if path != "" {
		u = u.JoinPath(path)
	}
	if client == nil {
		client = NewClient(ClientOptions{})
	}
	full := u.String()
	hide := []string{full, base}
	if path == "" { // otherwise the path is the protocol's
		secrets = append(secrets, strings.Trim(u.EscapedPath(), "/"))
	}
	password, _ := u.User.Password()
	for _, s := range append(secrets, u.RawQuery, password) {
		if len(s) >= 8 { // shorter ones are words
			hide = append(hide, s)
		}
	}
	return endpoint{client: client, url: func() string { return full }, hide: func() []string { return hide }}, nil
}

// hiding returns the endpoint with further strings that no error may contain.
func (ep endpoint) hiding(secrets ...string) endpoint {
	hide := slices.Concat(ep.hide(), secrets)
	ep.hide = func() []string { return hide }
	return ep
}

// post sends body as JSON. It returns nil for a 2xx answer and an *Error
// otherwise.
func (ep endpoint) post(ctx context.Context, body []byte, headers map[string]string) error {
	_, _, err := ep.ask(ctx, body, headers)
	return err
}

// ask is post for who reads the answer: its header and the start of its body.
func (ep endpoint) ask(ctx context.Context, body []byte, headers map[string]string) (http.Header, []byte, error) {
	return ep.call(ctx, http.MethodPost, body, headers)
}

// call is ask by any method. body is JSON, or empty for none.
func (ep endpoint) call(ctx context.Context, method string, body []byte, headers map[string]string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, ep.url(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, unsendable(ep.clean(err))
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", userAgent)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := ep.client.Do(req)
	if err != nil {
		return nil, nil, ep.netError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	// What follows a status does not change it, so a cut or endless body is
	// the same as a short one.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	return resp.Header, text, ep.statusError(resp, text, time.Now())
}

// netError classes a call without an answer.
func (ep endpoint) netError(err error) *Error {
	reason := ReasonNetwork
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		reason = ReasonTimeout
	}
	return &Error{Reason: reason, Err: ep.clean(err)}
}

// statusError classes an answer: the retry table of the package.
func (ep endpoint) statusError(resp *http.Response, body []byte, now time.Time) error {
	code := resp.StatusCode
	if code/100 == 2 {
		return nil
	}
	// Redacted before it is cut: half a secret is not found again.
	e := &Error{Status: code, Err: fmt.Errorf("status %d%s", code, snippet(ep.redact(string(body))))}
	switch {
	case code == http.StatusTooManyRequests:
		e.Reason = ReasonRateLimited
	case code == http.StatusRequestTimeout:
		e.Reason = ReasonTimeout
	case code/100 == 5:
		e.Reason = ReasonServer
	case code/100 == 3: // a gateway's page for maintenance or login, as a rule: it passes
		e.Reason = ReasonRedirect
	default:
		e.Reason, e.Permanent = ReasonRejected, true
		return e
	}
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	return e
}

// retryAfter reads RFC 9110's Retry-After: seconds or a date. Anything else,
// and the past, is 0.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(strings.TrimSpace(header), 64); err == nil {
		return time.Duration(max(0, min(s, maxRetryAfter.Seconds())) * float64(time.Second))
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// clean returns an error whose text names neither the URL nor a token. The
// cause is kept by text only: a wrapped *url.Error would print the URL again.
func (ep endpoint) clean(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	return errors.New(ep.redact(err.Error()))
}

func (ep endpoint) redact(text string) string {
	for _, secret := range ep.hide() {
		text = strings.ReplaceAll(text, secret, "<secret>")
	}
	return text
}

// snippet is the start of an answer on one line, ready to follow the status.
func snippet(body string) string {
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, body[:min(len(body), maxSnippet)])
	if line = strings.TrimSpace(line); line == "" {
		return ""
	}
	return ": " + line
}

// encode is json.Marshal without HTML escapes, which only make bodies longer.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, unsendable(fmt.Errorf("encode notification: %w", err))
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
