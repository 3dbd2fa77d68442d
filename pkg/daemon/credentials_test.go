package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"driftd.dev/driftd/pkg/stream"
)

// An operatorServer is a JetStream server in operator mode: it knows an operator,
// whose accounts sign the JWTs of their users.
type operatorServer struct {
	t        *testing.T
	server   *server.Server
	operator nkeys.KeyPair
	resolver *server.MemAccResolver
	account  nkeys.KeyPair
	claims   *jwt.AccountClaims
}

func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string) {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return pair, public
}

// startOperator starts a server with a system account and one for driftd, which
// has JetStream.
func startOperator(t *testing.T) *operatorServer {
	t.Helper()
	o := &operatorServer{t: t, resolver: &server.MemAccResolver{}}
	var operator, system, account string
	o.operator, operator = newKey(t, nkeys.CreateOperator)
	_, system = newKey(t, nkeys.CreateAccount)
	o.account, account = newKey(t, nkeys.CreateAccount)
	o.claims = jwt.NewAccountClaims(account)
	o.claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	for public, claims := range map[string]*jwt.AccountClaims{system: jwt.NewAccountClaims(system), account: o.claims} {
		o.store(public, claims)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		TrustedOperators: []*jwt.OperatorClaims{jwt.NewOperatorClaims(operator)}, AccountResolver: o.resolver, SystemAccount: system,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.server = s
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	return o
}

// store signs an account and hands it to the server.
func (o *operatorServer) store(public string, claims *jwt.AccountClaims) {
	o.t.Helper()
	text, err := claims.Encode(o.operator)
	if err == nil {
		err = o.resolver.Store(public, text)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// user writes the credentials of a new user, as nsc does, and returns who it is.
func (o *operatorServer) user(file string) (public string) {
	o.t.Helper()
	pair, public := newKey(o.t, nkeys.CreateUser)
	text, err := jwt.NewUserClaims(public).Encode(o.account)
	if err != nil {
		o.t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		o.t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(text, seed)
	if err == nil {
		err = os.WriteFile(file, creds, 0o600)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return public
}

// revoke withdraws a user: the server ends its connections and admits it no more.
func (o *operatorServer) revoke(user string) {
	o.t.Helper()
	o.claims.Revoke(user)
	o.store(o.claims.Subject, o.claims)
	account, err := o.server.LookupAccount(o.claims.Subject)
	if err != nil {
		o.t.Fatal(err)
	}
	o.server.UpdateAccountClaims(account, o.claims)
}

// attempts is how many connections the server has seen.
func (o *operatorServer) attempts() uint64 {
	o.t.Helper()
	v, err := o.server.Varz(nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return v.TotalConnections
}

// TestCredentialsOfAnOperator: a file with a JWT is exchanged while driftd runs,
// and the old user withdrawn; the next connection takes the new one. Where the file
// holds a withdrawn user driftd is not ready (nats_auth), tries again ever more
// slowly, and goes on counting by itself when the file is good again.
func TestCredentialsOfAnOperator(t *testing.T) {
	noLeaks(t)
	o := startOperator(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "driftd.creds")
	first := o.user(file)
	url := "nats://" + o.server.Addr().String()
	o.user(filepath.Join(dir, "publisher.creds"))
	publisher, err := stream.Connect(stream.Options{URL: url, CredsFile: filepath.Join(dir, "publisher.creds"), MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	for _, spec := range []stream.StreamSpec{stream.InputStream(), stream.SignalStream()} {
		if _, err := stream.EnsureStream(t.Context(), publisher.JetStream(), spec); err != nil {
			t.Fatal(err)
		}
	}
	i, book, end := begin(t, "nats: {url: '"+url+"', creds_file: "+file+"}\nhttp: {listen: '127.0.0.1:0'}\n")
	defer end()
	sent := 0
	counted := func() {
		t.Helper()
		sent++
		id := string(rune('a' + sent))
		if _, err := publisher.JetStream().Publish(t.Context(), "ml.predictions.fraud", []byte(`{"id":"`+id+`","model":"fraud","prediction":1}`)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the event of user "+id, func() bool {
			_, text := see(t, i, "/metrics", "")
			return strings.Contains(text, `driftd_messages_total{outcome="accepted"} `+string(rune('0'+sent))+"\n")
		})
	}
	ready := func() bool { code, _ := see(t, i, "/-/ready", ""); return code == 200 }
	counted()

	second := o.user(file) // rotated, and then withdrawn
	o.revoke(first)
	waitFor(t, "a connection of the second user", func() bool { return i.Conn.Status().Reconnects == 1 && ready() })
	counted()

	o.revoke(second)
	waitFor(t, "nats_auth", func() bool {
		code, text := see(t, i, "/-/ready", "")
		return code == 503 && strings.Contains(text, `"nats_auth"`)
	})
	// Attempts are 50, 100, 200, 400 and 800 ms apart, and up to 2 s: five of them
	// take at least the first four, however fast the machine is.
	began, before := time.Now(), o.attempts()
	waitFor(t, "five attempts", func() bool { return o.attempts() >= before+5 })
	if took := time.Since(began); took < 750*time.Millisecond {
		t.Errorf("five attempts took %s: that is a busy loop", took)
	}
	if n := strings.Count(book.String(), "\n"); n > 200 {
		t.Errorf("%d lines of log", n)
	}

	o.user(file)
	waitFor(t, "a connection of the third user", ready)
	counted()
	end()
	if strings.Contains(book.String(), "PRIVATE") || strings.Contains(book.String(), "eyJ") {
		t.Errorf("the log shows credentials:\n%s", book.String())
	}
}
