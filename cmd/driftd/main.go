package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // locations of time intervals, also where there are no zone files

	_ "driftd.dev/driftd/cmd/driftd/quiet" // modules that log while they are initialized
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. The first signal asks for a
// graceful end; the second one kills, since the first gives up its handler.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	e := &env{in: in, out: out, err: errOut, lookup: os.LookupEnv}
	root := newRootCmd(e)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !e.running {
		err = usageError{err: err}
	}
	e.complain(err, cmd.CommandPath())
	return int(codeOf(err))
}
