package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/sim"
)

// A demoPlan is what the flags of `driftd demo` ask for.
type demoPlan struct {
	seed     uint64
	speed    float64 // demo seconds a second; 0: as fast as it goes
	headless bool
	scenario string
	listen   string
	keep     string // folder to keep the store in; "" removes it
}

func newDemoCmd(e *env) *cobra.Command {
	p := demoPlan{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See everything at once, on this machine alone",
		Long: `Demo runs JetStream, driftd, a fake Slack and a fake PagerDuty in this process,
on loopback, and publishes the seeded traffic of three models in which things go
wrong: the amounts of fraud drift, a country vanishes from churn, a canary fails.
driftd sees it, tells people, asks for a retraining and a rollback, and the fake
router obeys. The demo clock starts at 2026-01-01T00:00Z.

On a terminal it stays up afterwards, to look around. With --headless it runs
the story as fast as it goes and exits 0 only if every step happened.`,
		Example: `  driftd demo
  driftd demo --headless --seed 1 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.headless {
				p.speed = 0
			}
			if p.speed < 0 {
				return badUsage("--speed %g: use 0 (as fast as it goes) or more", p.speed)
			}
			return e.demo(cmd.Context(), p)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&p.seed, "seed", 1, "seed of the traffic: the same seed gives the same ledger")
	f.Float64Var(&p.speed, "speed", 60, "demo seconds a second; 0 is as fast as it goes")
	f.BoolVar(&p.headless, "headless", false, "run the story to its end, as fast as it goes, and judge it")
	f.StringVar(&p.scenario, "scenario", "demo", "what happens: demo, or quiet (nothing goes wrong, and nothing may be said)")
	f.StringVar(&p.listen, "listen", "127.0.0.1:8480", "address of the API and the pages; another port is taken if it is in use")
	f.StringVar(&p.keep, "keep", "", "folder to keep the store in; without it everything is removed at the end")
	return cmd
}

// demoStory is the timetable, in event time since the start.
func demoStory() sim.Story {
	return sim.Story{
		AmountFrom: 15 * time.Minute, AmountTo: 60 * time.Minute,
		ChurnFrom: 25 * time.Minute, ChurnTo: 60 * time.Minute,
		CanaryFrom: 35 * time.Minute, CanaryTo: 70 * time.Minute,
		Length: 110 * time.Minute, Rate: 2,
	}
}

func demoScenario(name string) (sim.Scenario, error) {
	switch name {
	case "demo":
		return sim.Demo(demoStory()), nil
	case "quiet":
		return sim.Quiet(demoStory()), nil
	}
	return sim.Scenario{}, badUsage("--scenario %q: use demo or quiet", name)
}

// demo runs the story, prints it, and judges it.
func (e *env) demo(ctx context.Context, p demoPlan) (err error) {
	scenario, err := demoScenario(p.scenario)
	if err != nil {
		return err
	}
	dir := p.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "driftd-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	s, err := newStage(ctx, e, p, scenario, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	talk := e.talk(p)
	story := newStory(s, p, talk)
	if err := story.play(ctx); err != nil {
		return err
	}
	out := story.outcome()
	if e.output == "" || e.output == "table" {
		story.epilogue(talk, out)
	} else if err := e.print(result{value: out, items: []any{out}}); err != nil {
		return err
	}
	if !p.headless && terminal(e.out) {
		fmt.Fprint(e.out, s.yourTurn())
		s.wait(ctx)
	}
	if !out.ok() {
		return withCode(codeFailed, fmt.Errorf("the story did not happen as told: %s", out.missing()))
	}
	return nil
}

// talk is where the story is told: stdout, unless that is for programs.
func (e *env) talk(demoPlan) io.Writer {
	switch {
	case e.output == "" || e.output == "table":
		return e.out
	case e.quiet:
		return io.Discard
	}
	return e.err
}
