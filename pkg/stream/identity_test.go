package stream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"driftd.dev/driftd/pkg/stream"
)

// nkey makes a user's key; the seed is in a file.
func nkey(t *testing.T) (public, file string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	must(t, err)
	seed, err := pair.Seed()
	must(t, err)
	public, err = pair.PublicKey()
	must(t, err)
	file = filepath.Join(t.TempDir(), "user.nk")
	must(t, os.WriteFile(file, seed, 0o600))
	return public, file
}

// certificate makes one that is its own CA, for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string, config *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	certPEM, keyPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	certFile, keyFile = filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	must(t, os.WriteFile(certFile, certPEM, 0o600))
	must(t, os.WriteFile(keyFile, keyPEM, 0o600))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// TestWaysIn: a server lets in who proves it, over TLS in both directions, by
// options and by a context of the nats CLI alike; nobody else.
func TestWaysIn(t *testing.T) {
	public, seed := nkey(t)
	_, otherSeed := nkey(t)
	cert, key, config := certificate(t)
	at := serve(t, &server.Options{
		Nkeys: []*server.NkeyUser{{Nkey: public}}, Users: []*server.User{{Username: "driftd", Password: "c4n4ry"}},
		TLSConfig: config, TLSTimeout: 5,
	})
	full := stream.Options{URL: "tls://" + at, NKeyFile: seed, CAFile: cert, CertFile: cert, KeyFile: key, MustConnect: true}
	with := func(edit func(*stream.Options)) stream.Options { o := full; edit(&o); return o }
	for _, c := range []struct {
		name    string
		options stream.Options
		refused string
	}{
		{"nkey", full, ""},
		{"user", with(func(o *stream.Options) { o.NKeyFile, o.User, o.Password = "", "driftd", "c4n4ry" }), ""},
		{"user in the URL", with(func(o *stream.Options) { o.NKeyFile, o.URL = "", "tls://driftd:c4n4ry@"+at }), ""},
		{"another nkey", with(func(o *stream.Options) { o.NKeyFile = otherSeed }), "uthorization"},
		{"a seed that is none", with(func(o *stream.Options) { o.NKeyFile = cert }), "nkey_file"},
		{"a wrong password", with(func(o *stream.Options) { o.NKeyFile, o.URL = "", "tls://driftd:c4n4ry2@"+at }), "uthorization"},
		{"no CA", with(func(o *stream.Options) { o.CAFile = "" }), "unknown authority"},
		{"no client certificate", with(func(o *stream.Options) { o.CertFile, o.KeyFile = "", "" }), "tls"},
		{"half a pair", with(func(o *stream.Options) { o.KeyFile = "" }), "belong together"},
		{"no file", with(func(o *stream.Options) { o.CAFile += "x" }), "tls.ca_file"},
		{"two identities", with(func(o *stream.Options) { o.CredsFile = seed }), "exclude one another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := stream.Connect(c.options)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != (c.refused == "") || err != nil && (!strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "c4n4ry")) {
				t.Errorf("%v, want %q", err, c.refused)
			}
		})
	}
	t.Run("context", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.json")
		text, err := json.Marshal(map[string]any{
			"description": "a test", "url": "tls://" + at, "nkey": seed, "ca": cert, "cert": cert, "key": key, "user": "", "nsc": "", "inbox_prefix": "_INBOX_driftd", "tls_first": false,
		})
		must(t, err)
		must(t, os.WriteFile(path, text, 0o600))
		o, err := stream.ContextOptions(path)
		must(t, err)
		o.MustConnect = true
		c, err := stream.Connect(o)
		must(t, err)
		c.Close()
	})
}

// TestContextsOfTheCLI: a name is looked up where the nats CLI keeps contexts;
// what driftd would have to ignore is refused, without showing it.
func TestContextsOfTheCLI(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("HOME", dir)
	must(t, os.MkdirAll(filepath.Join(dir, "nats", "context"), 0o700))
	for _, c := range []struct{ name, text, want string }{
		{"good", `{"url":"nats://a:1,nats://b:2","token":"c4n4ry","creds":"~/x.creds","color_scheme":"red"}`, ""},
		{"nsc", `{"url":"nats://a:1","nsc":"nsc://c4n4ry/a/b"}`, `does not know "nsc"`},
		{"domain", `{"jetstream_domain":"leaf"}`, `does not know "jetstream_domain"`},
		{"proxy", `{"socks_proxy":"c4n4ry"}`, `does not know "socks_proxy"`},
		{"garbage", `{"password":"c4n4ry"`, "is no context"},
		{"numbers", `{"url":4222}`, "is no context"},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, os.WriteFile(filepath.Join(dir, "nats", "context", c.name+".json"), []byte(c.text), 0o600))
			o, err := stream.ContextOptions(c.name)
			if c.want == "" {
				if err != nil || o.URL != "nats://a:1,nats://b:2" || o.Token != "c4n4ry" || o.CredsFile != filepath.Join(dir, "x.creds") {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "c4n4ry") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := stream.ContextOptions("absent"); err == nil || !strings.Contains(err.Error(), "nats context ls") {
		t.Errorf("%v", err)
	}
}

// TestErrorsShowNoCredentials, wherever in the address they stand.
func TestErrorsShowNoCredentials(t *testing.T) {
	for _, o := range []stream.Options{
		{URL: "nats://driftd:c4n4ry@127.0.0.1:1"},
		{URL: "nats://c4n4ry@127.0.0.1:1, nats://a:c4n4ry@127.0.0.1:2"},
		{URL: "nats://driftd:c4n4ry@127.0.0.1:no"},
		{URL: "driftd:c4n4ry@127.0.0.1:1"},
		{URL: "nats://driftd:c4n4ry/x@127.0.0.1:1"},
		{URL: "nats://127.0.0.1:1", User: "driftd", Password: "c4n4ry"},
		{URL: "nats://127.0.0.1:1", Token: "c4n4ry"},
	} {
		o.MustConnect = true
		c, err := stream.Connect(o)
		if err == nil {
			c.Close()
			t.Fatal("connected to nobody")
		}
		if strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%v", err)
		}
	}
}

// TestWithdrawnAndRestored: a server that does not know us any more is a reason of
// its own; when it knows us again the connection heals by itself.
func TestWithdrawnAndRestored(t *testing.T) {
	port := freePort(t)
	start := func(password string) *server.Server {
		s, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, Users: []*server.User{{Username: "driftd", Password: password}},
		})
		must(t, err)
		s.Start()
		if !s.ReadyForConnections(deadline) {
			t.Fatal("server not ready")
		}
		return s
	}
	stop := func(s *server.Server) { s.Shutdown(); s.WaitForShutdown() }
	s := start("a")
	c := connect(t, stream.Options{URL: "nats://" + s.Addr().String(), User: "driftd", Password: "a", MustConnect: true})
	stop(s)
	s = start("b")
	eventually(t, "the refusal", func() bool { return c.Status().Unauthorized && !c.Status().Connected })
	stop(s)
	s = start("a")
	defer stop(s)
	eventually(t, "the connection", func() bool { return c.Status().Connected && !c.Status().Unauthorized })
}
