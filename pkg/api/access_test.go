package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/api"
)

// hashInName is what changes with the content of a file that is served.
var hashInName = regexp.MustCompile(`-[0-9a-f]{12}\.`)

var roles = []api.Role{api.IngestOnly, api.Read, api.Label, api.Operate, api.Admin}

// keys are the secrets of five tokens, each named as its role.
type keys map[api.Role]string

// tokens writes a tokens file with one token a role.
func tokens(t testing.TB) (path string, secrets keys) {
	t.Helper()
	path, secrets = filepath.Join(t.TempDir(), "tokens"), keys{}
	var file strings.Builder
	file.WriteString("# who may what\n\n")
	for _, r := range roles {
		secret, line, err := api.NewToken(r.String(), r, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		secrets[r] = secret
		file.WriteString(line + "\n")
	}
	write(t, path, file.String())
	return path, secrets
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openAccess(t testing.TB, o api.AccessOptions) *api.Access {
	t.Helper()
	a, err := api.OpenAccess(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask sends a request from an address with an Authorization header.
func ask(h http.Handler, method, target, from, authorization string) *http.Response {
	ctx, cancel := context.WithCancel(context.Background())
	if strings.HasSuffix(target, "/stream") {
		cancel() // it would not end
	}
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader("{}"))
	r.Host, r.RemoteAddr = "127.0.0.1:8480", from+":5"
	r.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}

// expire adds a token of an administrator to a tokens file that ended some time
// ago, and returns its secret.
func expire(t testing.TB, path string, ago time.Duration) (secret string) {
	t.Helper()
	secret, line, err := api.NewToken("old", api.Admin, time.Now().Add(-ago))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(file)+line+"\n")
	return secret
}

// TestRouteTable walks every operation of OpenAPI with no token, a wrong one, an
// expired one and one of each role, and compares with the table in testdata and with what OpenAPI
// says of the operation: below its role 403, from it on an answer that is about
// something else.
func TestRouteTable(t *testing.T) {
	path, secrets := tokens(t)
	expired := expire(t, path, time.Hour)
	s := newServer(t, newWorld(t), func(o *api.Options) {
		o.Access = openAccess(t, api.AccessOptions{TokensFile: path})
		o.Extra = map[string]http.Handler{"GET /extra": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	})
	h := s.Handler()
	var doc object
	if err := json.Unmarshal([]byte(text(t, ask(h, "GET", "/api/v1/openapi.json", "10.9.9.9", "Bearer "+secrets[api.Read]))), &doc); err != nil {
		t.Fatal(err)
	}
	table := "method path: none wrong expired ingest read label operate admin\n"
	n := 0
	walk := func(method, target, role string) {
		n++
		from := fmt.Sprintf("10.0.%d.1", n) // the limit of guesses is of an address
		row := fmt.Sprintf("%s %s:", method, hashInName.ReplaceAllString(target, "-*."))
		for i, auth := range []string{"", "driftd_wrong", expired, secrets[api.IngestOnly], secrets[api.Read], secrets[api.Label], secrets[api.Operate], secrets[api.Admin]} {
			if auth != "" {
				auth = "Bearer " + auth
			}
			r := ask(h, method, target, from, auth)
			row += fmt.Sprintf(" %d", r.StatusCode)
			need, _ := api.ParseRole(role)
			may := role == "public" || i >= 3 && (roles[i-3] >= need && roles[i-3] != api.IngestOnly && need != api.IngestOnly)
			if need == api.IngestOnly { // publishers, and who may label
				may = i >= 3 && roles[i-3] != api.Read
			}
			switch got := r.StatusCode; {
			case !may && i < 3 && got != 401, !may && i >= 3 && got != 403, may && (got == 401 || got == 403 || got == 405 || got == 500):
				t.Errorf("%s %s needs %s; credential %d got %d", method, target, role, i, got)
			}
			if got := r.Header.Values("WWW-Authenticate"); (r.StatusCode == 401) != (len(got) == 2) {
				t.Errorf("%s %s: %d with %q", method, target, r.StatusCode, got)
			}
			if r.StatusCode >= 400 && r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: %d as %s", method, target, r.StatusCode, r.Header.Get("Content-Type"))
			}
		}
		table += row + "\n"
	}
	paths := doc["paths"].(object)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		for _, method := range slices.Sorted(maps.Keys(paths[p].(object))) {
			role := "public"
			if security := paths[p].(object)[method].(object)["security"].([]any); len(security) > 0 {
				role = security[0].(object)["bearer"].([]any)[0].(string)
			}
			target := strings.NewReplacer("{m}", "fraud", "{id}", "b-0").Replace(p)
			walk(strings.ToUpper(method), target, role)
		}
	}
	walk("GET", "/extra", "read")
	for _, target := range []string{"/nothing", "/api/v1/nothing"} {
		table += fmt.Sprintf("GET %s: %d\n", target, ask(h, "GET", target, "10.1.0.1", "").StatusCode)
	}
	golden(t, "access.txt", table)
}

// The metrics listener asks as the first does, unless it is public.
func TestMetricsListenerAccess(t *testing.T) {
	path, secrets := tokens(t)
	for _, public := range []bool{false, true} {
		s := newServer(t, newWorld(t), func(o *api.Options) {
			o.Access, o.MetricsPublic = openAccess(t, api.AccessOptions{TokensFile: path}), public
		})
		want := 401
		if public {
			want = 200
		}
		if r := ask(s.MetricsHandler(), "GET", "/metrics", "10.0.0.1", ""); r.StatusCode != want {
			t.Errorf("public %v: %d, want %d", public, r.StatusCode, want)
		}
		if r := ask(s.MetricsHandler(), "GET", "/metrics", "10.0.0.1", "Bearer "+secrets[api.Read]); r.StatusCode != 200 {
			t.Errorf("public %v, with a token: %d", public, r.StatusCode)
		}
		if r := ask(s.Handler(), "GET", "/metrics", "10.0.0.1", ""); r.StatusCode != 401 {
			t.Errorf("the first listener, public %v: %d, want 401", public, r.StatusCode)
		}
	}
}

func TestCredentials(t *testing.T) {
	path, secrets := tokens(t)
	s := newServer(t, newWorld(t), func(o *api.Options) { o.Access = openAccess(t, api.AccessOptions{TokensFile: path}) })
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	secret := secrets[api.Read]
	for i, c := range []struct {
		name, header string
		want         int
	}{
		{"bearer", "Bearer " + secret, 200},
		{"in small letters", "bearer " + secret, 200},
		{"basic with any user", basic("me:" + secret), 200},
		{"basic without user", basic(":" + secret), 200},
		{"basic with the token as the user", basic(secret + ":"), 401},
		{"basic that is no base64", "Basic %%%", 401},
		{"empty", "Bearer ", 401},
		{"another scheme", "Digest " + secret, 401},
		{"its hash", "Bearer " + hashOf(t, path), 401},
		{"a part", "Bearer " + secret[:len(secret)-1], 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := ask(s.Handler(), "GET", "/api/v1/status", fmt.Sprintf("10.0.0.%d", i), c.header); r.StatusCode != c.want {
				t.Errorf("%d, want %d", r.StatusCode, c.want)
			}
		})
	}
	r := httptest.NewRequest("GET", "/api/v1/status", nil)
	r.Host = "localhost"
	r.Header["Authorization"] = []string{"Bearer " + secret, "Bearer " + secret}
	rec := httptest.NewRecorder()
	if s.Handler().ServeHTTP(rec, r); rec.Code != 401 {
		t.Errorf("two credentials: %d, want 401", rec.Code)
	}
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Split(strings.TrimSpace(string(text)), "\n")[3]
	return line[strings.LastIndexByte(line, ':')+1:]
}

// Who has a token is who the ledger names; who has none is an address.
func TestActorIsTheTokensName(t *testing.T) {
	path, secrets := tokens(t)
	w := newWorld(t)
	id := w.snapshot.Models[1].Baseline.ID
	s := newServer(t, w, func(o *api.Options) { o.Access = openAccess(t, api.AccessOptions{TokensFile: path}) })
	for _, auth := range []string{"Bearer " + secrets[api.Operate], "Bearer " + secrets[api.Admin]} {
		if r := ask(s.Handler(), "POST", "/api/v1/baselines/"+id+"/approve", "10.0.0.1", auth); r.StatusCode != 200 {
			t.Errorf("%d", r.StatusCode)
		}
	}
	if r := ask(newServer(t, w).Handler(), "POST", "/api/v1/baselines/"+id+"/approve", "127.0.0.1", ""); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	want := []string{"approve " + id + " operate", "approve " + id + " admin", "approve " + id + " http:127.0.0.1"}
	if !slices.Equal(w.commands, want) {
		t.Errorf("commands %q, want %q", w.commands, want)
	}
}

// A file that became garbage, or is gone, leaves the tokens before it in force,
// and the log says which lines are wrong without showing them. What follows is
// taken again, and a token whose line is gone is withdrawn.
func TestTokensFileChanges(t *testing.T) {
	path, secrets := tokens(t)
	var log bytes.Buffer
	a := openAccess(t, api.AccessOptions{TokensFile: path, Log: zerolog.New(&log)})
	s := newServer(t, newWorld(t), func(o *api.Options) { o.Access = a })
	status := func(role api.Role) int {
		return ask(s.Handler(), "GET", "/api/v1/status", "10.0.0.1", "Bearer "+secrets[role]).StatusCode
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const canary = "c4n4ry"
	lines := strings.SplitAfter(string(good), "\n")
	for name, c := range map[string]struct{ text, place string }{
		"garbage":          {string(good) + canary + "\n", ":8: expected name:role:sha256"},
		"no role":          {"x:" + canary + ":" + hashOf(t, path), ":1: expected the role"},
		"a token, no hash": {"x:read:" + canary, ":1: expected the SHA-256"},
		"a name twice":     {string(good) + lines[3], ":8: the name is that of line 4"},
		"nothing":          {"# " + canary, ":1: no token"},
		"too large":        {strings.Repeat("#", 1<<20+1), "larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			write(t, path, c.text)
			a.Refresh(time.Now())
			a.Refresh(time.Now()) // tells it once
			if got := log.String(); !strings.Contains(got, c.place) || strings.Contains(got, canary) || strings.Count(got, "\n") != 1 {
				t.Errorf("log %q, want one line with %q", got, c.place)
			}
			if got := scrapeAs(t, s, secrets[api.Read]); !strings.Contains(got, `last_reload_successful{file="tokens"} 0`) {
				t.Error("the metric says that the file is good")
			}
			if status(api.Read) != 200 {
				t.Error("the tokens before it are not in force")
			}
			write(t, path, string(good))
			a.Refresh(time.Now())
			if got := scrapeAs(t, s, secrets[api.Read]); !strings.Contains(got, `last_reload_successful{file="tokens"} 1`) {
				t.Error("the metric says that the file is bad")
			}
		})
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if a.Refresh(time.Now()); status(api.Read) != 200 {
		t.Error("without the file the tokens are gone")
	}
	write(t, path, lines[3]) // read alone
	if a.Refresh(time.Now()); status(api.Read) != 200 || status(api.Admin) != 401 {
		t.Errorf("after admin was withdrawn: read %d, admin %d; want 200, 401", status(api.Read), status(api.Admin))
	}
}

// A token is good until its end, and what refuses it then says so; the log tells
// a week before, and at the end, once each, and the metric shows the next end.
func TestTokenExpires(t *testing.T) {
	path, secrets := tokens(t)
	begin := time.Now().Truncate(time.Second)
	end := begin.Add(30 * 24 * time.Hour)
	secret, line, err := api.NewToken("ann", api.Read, end)
	if err != nil {
		t.Fatal(err)
	}
	if want := ":" + end.UTC().Format(time.RFC3339); !strings.HasSuffix(line, want) {
		t.Errorf("line %s, want the end %s", line, want)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(file)+line+"\n")
	expired := expire(t, path, 0)
	var log bytes.Buffer
	a := openAccess(t, api.AccessOptions{TokensFile: path, Log: zerolog.New(&log)})
	s := newServer(t, newWorld(t), func(o *api.Options) { o.Access = a })
	if r := ask(s.Handler(), "GET", "/api/v1/status", "10.0.0.1", "Bearer "+secret); r.StatusCode != 200 {
		t.Errorf("before its end: %d, want 200", r.StatusCode)
	}
	for range 30 { // more than guesses of an address
		r := ask(s.Handler(), "GET", "/api/v1/status", "10.0.0.1", "Bearer "+expired)
		if body := text(t, r); r.StatusCode != 401 || !strings.Contains(body, "this token of old expired at 20") {
			t.Fatalf("from its end on: %d %s, want 401 that says why", r.StatusCode, body)
		}
	}
	for _, want := range []string{
		`driftd_http_access_failures_total{reason="expired"} 30`,
		fmt.Sprintf("driftd_http_token_expiry_timestamp_seconds %d\n", end.Unix()),
	} {
		if got := scrapeAs(t, s, secrets[api.Read]); !strings.Contains(got, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	for _, step := range []struct {
		before time.Duration
		want   string // "" = nothing new
	}{
		{30 * 24 * time.Hour, `"name":"old"`},
		{30 * 24 * time.Hour, ""},
		{7*24*time.Hour + 1, ""},
		{7 * 24 * time.Hour, `"name":"ann"`},
		{time.Hour, ""},
		{0, "a token has expired"},
		{-time.Hour, ""},
	} {
		log.Reset()
		a.Refresh(end.Add(-step.before))
		if got := log.String(); strings.Count(got, "\n") > 1 || (got == "") != (step.want == "") || !strings.Contains(got, step.want) {
			t.Errorf("%s before the end: log %q, want %q", step.before, got, step.want)
		}
	}
	write(t, path, string(file)+strings.TrimSuffix(line, end.UTC().Format(time.RFC3339))+"30 of February")
	if a.Refresh(begin); !strings.Contains(log.String(), "expected the end of the token after the third colon") {
		t.Errorf("log %q", log.String())
	}
}

// An event stream ends when the token that it was opened with is withdrawn.
func TestWithdrawnTokenEndsItsStream(t *testing.T) {
	path, secrets := tokens(t)
	a := openAccess(t, api.AccessOptions{TokensFile: path})
	s := newServer(t, newWorld(t), func(o *api.Options) { o.Access = a })
	s.Hasten(time.Second) // the stream looks every 100 ms
	addr, end := serve(t, s)
	open := func(role api.Role) *http.Response {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // only if the test fails
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secrets[role])
		r, err := http.DefaultClient.Do(req)
		if err != nil || r.StatusCode != 200 {
			t.Fatal(r, err)
		}
		return r
	}
	withdrawn := open(api.Read)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(good), "\n")
	write(t, path, strings.Join(lines[4:], "")) // all but those who only send or read
	a.Refresh(time.Now())
	if _, err := io.Copy(io.Discard, withdrawn.Body); err != nil {
		t.Errorf("the stream did not end: %v", err)
	}
	_ = withdrawn.Body.Close()
	if err := end(); err != nil {
		t.Error(err)
	}
}

func scrapeAs(t *testing.T, s *api.Server, secret string) string {
	t.Helper()
	r := ask(s.Handler(), "GET", "/metrics", "10.0.0.1", "Bearer "+secret)
	if r.StatusCode != 200 {
		t.Fatalf("/metrics: %d", r.StatusCode)
	}
	return text(t, r)
}

// 2,000 wrong tokens from one address: ten are looked at, the rest is told to
// wait, and somebody else notices nothing.
func TestGuessing(t *testing.T) {
	path, secrets := tokens(t)
	s := newServer(t, newWorld(t), func(o *api.Options) { o.Access = openAccess(t, api.AccessOptions{TokensFile: path}) })
	const known = "10.0.0.1"
	if r := ask(s.Handler(), "GET", "/api/v1/status", known, "Bearer "+secrets[api.Read]); r.StatusCode != 200 {
		t.Fatal(r.StatusCode)
	}
	answers := map[int]int{}
	begin := time.Now()
	for i := range 2000 {
		r := ask(s.Handler(), "GET", "/api/v1/status", "10.6.6.6", fmt.Sprintf("Bearer %d", i))
		answers[r.StatusCode]++
		if r.StatusCode == 429 && r.Header.Get("Retry-After") == "" {
			t.Fatal("429 without Retry-After")
		}
	}
	// One more guess is allowed every 2 s that the loop took.
	if most := 10 + int(time.Since(begin)/(2*time.Second)) + 1; answers[401] > most || answers[401] < 10 || answers[401]+answers[429] != 2000 {
		t.Errorf("answers %v, want 10 to %d of 401 and 429 for the rest", answers, most)
	}
	for i := range 2000 { // each from an address of its own: 200 at once over all
		ask(s.Handler(), "GET", "/api/v1/status", fmt.Sprintf("10.7.%d.%d", i/256, i%256), "Bearer x")
	}
	if r := ask(s.Handler(), "GET", "/api/v1/status", known, "Bearer "+secrets[api.Read]); r.StatusCode != 200 {
		t.Errorf("who has been here is refused: %d", r.StatusCode)
	}
	if got := scrapeAs(t, s, secrets[api.Read]); !strings.Contains(got, `driftd_http_access_failures_total{reason="limited"}`) {
		t.Error("the failures are not counted")
	}
}

// A panic of a handler tells the log nothing of the request's token.
func TestPanicShowsNoToken(t *testing.T) {
	path, secrets := tokens(t)
	var log bytes.Buffer
	s := newServer(t, newWorld(t), func(o *api.Options) {
		o.Access, o.Log = openAccess(t, api.AccessOptions{TokensFile: path}), zerolog.New(&log).Level(zerolog.TraceLevel)
		o.Extra = map[string]http.Handler{"GET /panic": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			panic(fmt.Sprint("cannot handle ", r.Header))
		})}
	})
	for _, auth := range []string{
		"Bearer " + secrets[api.Admin],
		"Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+secrets[api.Admin])),
	} {
		log.Reset()
		r := ask(s.Handler(), "GET", "/panic", "10.0.0.1", auth)
		told := log.String() + text(t, r)
		_, encoded, _ := strings.Cut(auth, " ")
		if r.StatusCode != 500 || !strings.Contains(told, "<secret>") || strings.Contains(told, encoded) || strings.Contains(told, secrets[api.Admin]) {
			t.Errorf("%d, told %s", r.StatusCode, told)
		}
	}
}

func TestOpenAccessRefuses(t *testing.T) {
	path, _ := tokens(t)
	for name, c := range map[string]struct {
		options api.AccessOptions
		want    string
	}{
		"nothing":          {api.AccessOptions{}, "needs tokens or a certificate"},
		"no file":          {api.AccessOptions{TokensFile: path + "x"}, "no such file"},
		"no certificate":   {api.AccessOptions{CertFile: path, KeyFile: path}, "certificate " + path},
		"no client CA":     {api.AccessOptions{CertFile: path, KeyFile: path, ClientCAFile: path + "x"}, "no such file"},
		"the config as it": {api.AccessOptions{TokensFile: "../../configs/driftd.yaml"}, "more lines"},
	} {
		if _, err := api.OpenAccess(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestNewTokenRefuses(t *testing.T) {
	for _, name := range []string{"", "a:b", "a b", "http:127.0.0.1", "-", strings.Repeat("a", 65), "a\nb"} {
		if _, _, err := api.NewToken(name, api.Read, time.Time{}); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	if _, _, err := api.NewToken("a", api.Public, time.Time{}); err == nil {
		t.Error("public is a role of a token")
	}
}
