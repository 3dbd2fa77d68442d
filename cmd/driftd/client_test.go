package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
)

// put writes a file of a test's directory and returns its path.
func put(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate writes a certificate for a name and 127.0.0.1 that signs itself,
// and so is its own CA, as name.crt and name.key, and both as name.pem.
func certificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	put(t, dir, name+".crt", certPEM)
	put(t, dir, name+".key", keyPEM)
	put(t, dir, name+".pem", append(certPEM, keyPEM...))
}

// TestCommandsOverTLS: commands reach a daemon that has a private certificate, by
// a token or a certificate of their own, given by flags or by the environment; and
// where that fails they say which flag is missing.
func TestCommandsOverTLS(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"daemon", "ann", "stranger"} {
		certificate(t, dir, name)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	secret, line, err := api.NewToken("bob", api.Read, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "tokens", []byte(line))
	put(t, dir, "token", []byte(secret+"\n"))
	c, err := config.Parse("driftd.yaml", []byte(`
nats: {embedded: true, url: "nats://127.0.0.1:0"}
store: {dir: `+at("data")+`}
http:
  listen: "127.0.0.1:0"
  tokens_file: `+at("tokens")+`
  tls: {cert_file: `+at("daemon.crt")+`, key_file: `+at("daemon.key")+`, client_ca_file: `+at("ann.crt")+`, clients: [{san: ann, role: read}]}
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var d scriptDaemon
	if err := d.start(c); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.end(); err != nil {
			t.Error(err)
		}
	}()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	url := d.instance.URL()
	if !strings.HasPrefix(url, "https://") {
		t.Fatal(url)
	}
	for _, tc := range []struct {
		name   string
		server string
		env    map[string]string
		args   []string
		want   code
		said   string // on stderr
	}{
		{name: "a token", args: []string{"--cacert", at("daemon.crt"), "--token-file", at("token")}},
		{name: "a certificate", args: []string{"--cacert", at("daemon.crt"), "--cert", at("ann.crt"), "--key", at("ann.key")}},
		{name: "certificate and key in one file", args: []string{"--cacert", at("daemon.crt"), "--cert", at("ann.pem")}},
		{name: "by the environment", env: map[string]string{"DRIFTD_CACERT": at("daemon.crt"), "DRIFTD_CERT": at("ann.crt"), "DRIFTD_KEY": at("ann.key")}},
		{name: "nobody", args: []string{"--cacert", at("daemon.crt")}, want: codeFailed, said: "this needs a token"},
		{name: "a private CA not named", args: []string{"--token-file", at("token")}, want: codeFailed, said: "with --cacert"},
		{name: "another CA", args: []string{"--cacert", at("stranger.crt"), "--token-file", at("token")}, want: codeFailed, said: "with --cacert"},
		{name: "a certificate of another CA", args: []string{"--cacert", at("daemon.crt"), "--cert", at("stranger.pem")}, want: codeFailed, said: "http.tls.client_ca_file"},
		{name: "no TLS there", server: strings.Replace(plain.URL, "http:", "https:", 1), args: []string{"--cacert", at("daemon.crt")}, want: codeFailed, said: "speaks no TLS"},
		{name: "a key alone", args: []string{"--key", at("ann.key")}, want: codeUsage, said: "--key needs --cert"},
		{name: "a key that does not fit", args: []string{"--cert", at("ann.crt"), "--key", at("daemon.key")}, want: codeFailed, said: "--cert " + at("ann.crt")},
		{name: "no file", args: []string{"--cacert", at("none")}, want: codeFailed, said: "--cacert: open"},
		{name: "no certificate", args: []string{"--cacert", at("token")}, want: codeFailed, said: "holds no certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.server == "" {
				tc.server = url
			}
			t.Setenv("DRIFTD_TOKEN", "")
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			var out, errOut bytes.Buffer
			args := append([]string{"ledger", "verify", "--server", tc.server}, tc.args...)
			got := code(run(args, strings.NewReader(""), &out, &errOut))
			if got != tc.want || !strings.Contains(errOut.String(), tc.said) {
				t.Errorf("exit code %d, want %d; stderr %q, want %q", got, tc.want, errOut.String(), tc.said)
			}
			if got == codeOK && !strings.Contains(out.String(), "true") {
				t.Errorf("stdout %q", out.String())
			}
		})
	}
}
