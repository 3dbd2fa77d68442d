package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
)

// TestMain lets scripts run this test binary as the command driftd.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"driftd":         func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"driftd-crashes": crash,
	})
}

// TestScripts plays testdata/script: what each command prints and how it ends.
// A script has no daemon and no NATS unless it starts them.
func TestScripts(t *testing.T) {
	testscript.Run(t, scripts("script"))
}

// scripts are the parameters of all scripts, with commands of their own:
//
//	exits CODE ARGS...   runs driftd and checks how it ends
//	daemon start FILE    runs a daemon in the test's process; sets $DRIFTD_SERVER and $NATS_URL
//	daemon stop          ends it and waits
//	counted N            waits until the daemon has committed N events as counted
//	counting N           waits until it has committed N of them or more
//	keep NAME REGEXP     sets a variable to what matches first in stdout
func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 filepath.Join("testdata", dir),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DRIFTD_SERVER", "http://127.0.0.1:1") // nobody listens there
			env.Setenv("NATS_URL", "nats://127.0.0.1:1")
			env.Values[daemonKey{}] = &scriptDaemon{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "daemon": cmdDaemon, "counted": cmdCounted, "counting": cmdCounting, "keep": cmdKeep, "heads": cmdHeads,
		},
	}
}

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	err := ts.Exec("driftd", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("driftd %s: exit code %s, want %s\n%s", strings.Join(args[1:], " "), got, args[0], ts.ReadFile("stderr"))
	}
}

type daemonKey struct{}

// A scriptDaemon is the daemon of one script, when it runs.
type scriptDaemon struct {
	instance *daemon.Instance
	stop     func()
	ended    chan error
}

func cmdDaemon(ts *testscript.TestScript, _ bool, args []string) {
	d := ts.Value(daemonKey{}).(*scriptDaemon)
	switch {
	case len(args) == 2 && args[0] == "start" && d.instance == nil:
		c, err := config.Load(ts.MkAbs(args[1]), config.Options{})
		ts.Check(err)
		c.Store.Dir = ts.MkAbs(c.Store.Dir)
		ts.Check(d.start(c))
		ts.Defer(func() {
			if err := d.end(); err != nil {
				ts.Logf("the daemon ended with %v", err)
			}
		})
		ts.Setenv("DRIFTD_SERVER", d.instance.URL())
		ts.Setenv("NATS_URL", d.instance.Embedded.URL())
	case len(args) == 1 && args[0] == "stop":
		ts.Check(d.end())
		ts.Setenv("DRIFTD_SERVER", "http://127.0.0.1:1")
	default:
		ts.Fatalf("usage: daemon start FILE | daemon stop")
	}
}

func (d *scriptDaemon) start(c *config.Config) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	if d.instance, err = daemon.Start(ctx, c, daemon.Extras{Version: "test", Log: zerolog.Nop()}); err != nil {
		cancel()
		return err
	}
	d.stop, d.ended = cancel, make(chan error, 1)
	go func() { d.ended <- d.instance.Run(ctx) }()
	return nil
}

// end stops the daemon and waits for it; a second call does nothing.
func (d *scriptDaemon) end() error {
	if d.instance == nil {
		return nil
	}
	d.stop()
	ran, closed := <-d.ended, d.instance.Close()
	d.instance = nil
	if ran != nil {
		return ran
	}
	return closed
}

func cmdCounted(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: counted N")
	}
	want, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	got, err := ts.Value(daemonKey{}).(*scriptDaemon).counted(func(n uint64) bool { return n == want }, 2*time.Minute)
	ts.Check(err)
	if got != want {
		ts.Fatalf("the daemon counted %d events, want %d", got, want)
	}
}

func cmdKeep(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: keep NAME REGEXP")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	found := pattern.FindString(ts.ReadFile("stdout"))
	if found == "" {
		ts.Fatalf("nothing in stdout matches %s", args[1])
	}
	ts.Setenv(args[0], found)
}

// cmdHeads writes the heads of the ledger that the daemon has published to a file, once
// there is one of so many entries, and prints the key that has signed them.
func cmdHeads(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: heads ENTRIES FILE")
	}
	want, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	js := ts.Value(daemonKey{}).(*scriptDaemon).instance.Conn.JetStream()
	c, err := js.OrderedConsumer(ctx, "DRIFTD", jetstream.OrderedConsumerConfig{FilterSubjects: []string{daemon.CheckpointSubject}})
	ts.Check(err)
	messages, err := c.Messages()
	ts.Check(err)
	defer messages.Stop()
	var text []byte
	var head struct {
		Entries uint64
		Key     string
	}
	for head.Entries < want {
		m, err := messages.Next(jetstream.NextContext(ctx))
		ts.Check(err)
		ts.Check(json.Unmarshal(m.Data(), &head))
		text = append(append(text, m.Data()...), '\n')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
	_, err = fmt.Fprintln(ts.Stdout(), head.Key)
	ts.Check(err)
}

func cmdCounting(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: counting N")
	}
	least, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	got, err := ts.Value(daemonKey{}).(*scriptDaemon).counted(func(n uint64) bool { return n >= least }, 2*time.Minute)
	ts.Check(err)
	if got < least {
		ts.Fatalf("the daemon counted %d events, want %d or more", got, least)
	}
}

// counted asks for the number of events counted until it is enough or time is up.
func (d *scriptDaemon) counted(enough func(uint64) bool, within time.Duration) (got uint64, err error) {
	c, err := (&env{server: d.instance.URL(), timeout: within, lookup: os.LookupEnv}).client()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !enough(got) {
		var status struct {
			Counters map[string]uint64 `json:"counters"`
		}
		if err := c.get(ctx, "/api/v1/status", nil, &status); err != nil {
			return got, err
		}
		got = status.Counters["counted"]
		select {
		case <-ctx.Done():
			return got, nil
		case <-tick.C:
		}
	}
	return got, nil
}
