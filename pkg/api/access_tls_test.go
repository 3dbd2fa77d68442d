package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate and its key in PEM, with some names in it.
func (a *authority) issue(t testing.TB, serial int64, edit func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Duration(serial) * time.Minute),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	edit(template)
	private := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func loopback(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }

// shake connects and shakes hands.
func shake(addr string, config *tls.Config) (*tls.Conn, error) {
	c, err := (&tls.Dialer{Config: config}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// While a hundred clients shake hands the pair is swapped for another, for garbage,
// for a pair that does not fit, and for another good one: nobody fails, and each
// step lasts until every client has begun and ended a handshake in it.
func TestCertificateSwap(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	put := func(cert, key string) { write(t, certFile, cert); write(t, keyFile, key) }
	cert1, key1 := ca.issue(t, 2, loopback)
	cert2, key2 := ca.issue(t, 3, loopback)
	put(cert1, key1)
	a := openAccess(t, api.AccessOptions{CertFile: certFile, KeyFile: keyFile})
	s := newServer(t, newWorld(t), func(o *api.Options) { o.Access = a })
	addr, end := serve(t, s)
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	config := &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}

	var step atomic.Int64
	var served [100]atomic.Int64 // the last step in which a handshake of each began that succeeded
	var failed atomic.Pointer[error]
	var clients sync.WaitGroup
	done := make(chan struct{})
	for i := range served {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				began := step.Load()
				c, err := shake(addr, config)
				if err != nil {
					failed.Store(&err)
					return
				}
				_ = c.Close()
				served[i].Store(began)
			}
		})
	}
	all := func() { // waits until every client is served in this step
		t.Helper()
		now, deadline := step.Add(1), time.Now().Add(time.Minute)
		for i := range served {
			for served[i].Load() < now {
				if err := failed.Load(); err != nil {
					t.Fatalf("step %d: a handshake failed: %v", now, *err)
				}
				if time.Now().After(deadline) {
					t.Fatalf("step %d: client %d was not served within a minute", now, i)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	defer clients.Wait()
	defer close(done)
	all()
	for _, swap := range []struct {
		cert, key string
		serial    int64
	}{{cert2, key2, 3}, {"garbage", "garbage", 3}, {cert1, key2, 3}, {cert1, key1, 2}} {
		put(swap.cert, swap.key)
		a.Refresh(time.Now())
		all()
		c, err := shake(addr, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != swap.serial {
			t.Errorf("the certificate in force is %d, want %d", got, swap.serial)
		}
		_ = c.Close()
	}
	if c, err := shake(addr, &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is accepted")
	}
	if err := failed.Load(); err != nil {
		t.Errorf("a handshake failed: %v", *err)
	}
}

// A certificate of the client CA with a listed name has that name's role; with
// another name none; one of another CA does not come through; and a token is
// good without any.
func TestClientCertificates(t *testing.T) {
	ca, other, dir := newAuthority(t), newAuthority(t), t.TempDir()
	certFile, keyFile, caFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")
	cert, key := ca.issue(t, 2, loopback)
	write(t, certFile, cert)
	write(t, keyFile, key)
	write(t, caFile, ca.pem)
	path, secrets := tokens(t)
	a := openAccess(t, api.AccessOptions{
		TokensFile: path, CertFile: certFile, KeyFile: keyFile, ClientCAFile: caFile,
		Clients: map[string]api.Role{"Router.example": api.Operate, "spiffe://example/prometheus": api.Read},
	})
	w := newWorld(t)
	addr, end := serve(t, newServer(t, w, func(o *api.Options) { o.Access = a }))
	uri, _ := url.Parse("spiffe://example/prometheus")
	id := w.snapshot.Models[1].Baseline.ID
	for _, c := range []struct {
		name           string
		from           *authority
		edit           func(*x509.Certificate)
		token          string
		get, post      int
		handshakeFails bool
	}{
		{name: "a listed DNS name", from: ca, edit: func(c *x509.Certificate) { c.DNSNames = []string{"x", "ROUTER.example"} }, get: 200, post: 200},
		{name: "a listed URI", from: ca, edit: func(c *x509.Certificate) { c.URIs = []*url.URL{uri} }, get: 200, post: 403},
		{name: "not listed", from: ca, edit: func(c *x509.Certificate) { c.DNSNames = []string{"x.example"} }, get: 403, post: 403},
		{name: "a common name alone", from: ca, edit: func(c *x509.Certificate) { c.Subject.CommonName = "router.example" }, get: 403, post: 403},
		{name: "none", get: 401, post: 401},
		{name: "none, with a token", token: secrets[api.Admin], get: 200, post: 200},
		{name: "of another CA", from: other, edit: func(c *x509.Certificate) { c.DNSNames = []string{"router.example"} }, handshakeFails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := &tls.Config{RootCAs: ca.pool()}
			if c.from != nil {
				cert, key := c.from.issue(t, 9, c.edit)
				pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
				if err != nil {
					t.Fatal(err)
				}
				// Shown whatever CAs the server names.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
			for target, want := range map[string]int{"GET /api/v1/status": c.get, "POST /api/v1/baselines/" + id + "/approve": c.post} {
				method, path, _ := strings.Cut(target, " ")
				req, err := http.NewRequestWithContext(t.Context(), method, "https://"+addr+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				if c.token != "" {
					req.Header.Set("Authorization", "Bearer "+c.token)
				}
				r, err := client.Do(req)
				if err != nil {
					if !c.handshakeFails {
						t.Error(err)
					}
					continue
				}
				_ = r.Body.Close()
				if r.StatusCode != want || c.handshakeFails {
					t.Errorf("%s: %d, want %d", target, r.StatusCode, want)
				}
			}
		})
	}
	if want := []string{"approve " + id + " cert:router.example", "approve " + id + " admin"}; !slices.Equal(w.commands, want) {
		t.Errorf("commands %q, want %q", w.commands, want)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}
