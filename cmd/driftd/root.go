package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const defaultServer = "http://127.0.0.1:8480"

// An env is what a command runs in: its streams and the global flags.
type env struct {
	in       io.Reader
	out, err io.Writer
	lookup   func(string) (string, bool) // environment variables

	output    string // table, json, yaml, csv, ndjson; "" = the command's default
	color     string // auto, always, never
	server    string
	tokenFile string
	tls       tlsFiles
	logFormat string // auto, text, json
	quiet     bool
	verbose   int
	progress  string // auto, bar, json, none
	timeout   time.Duration

	hangup  chan os.Signal // SIGHUP, while serve runs
	running bool           // flags and arguments were accepted: errors are no usage errors any more
}

// formatsKey is the annotation of a command that prints more than the usual
// formats: a list with commas between.
const formatsKey = "formats"

var formats = []string{"table", "json", "yaml", "csv", "ndjson"}

// newRootCmd returns the whole tree of commands.
func newRootCmd(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "driftd",
		Short: "driftd watches machine-learning models in production",
		Long: `driftd reads the events of models from NATS JetStream, counts them in windows,
compares the windows with a reference, and tells people and programs what moved.

Data goes to stdout, logs and progress to stderr.

Exit codes: 0 ok, 1 failed, 2 usage, 3 store refused or a check has findings,
4 condition found (--fail-on), 5 the store is in use, 75 temporary, try again,
78 bad configuration.`,
		Example: `  driftd demo
  driftd compare --reference last-month.csv.gz --current today.parquet
  driftd serve -c driftd.yaml`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          group,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return e.check(cmd)
		},
	}
	e.flags(root)
	root.SetVersionTemplate("driftd {{.Version}}\n")
	root.AddCommand(
		newServeCmd(e),
		newDemoCmd(e),
		newCompareCmd(e),
		newSendCmd(e),
		newTapCmd(e),
		newGenCmd(e),
		newBaselineCmd(e),
		newModelCmd(e),
		newDriftCmd(e),
		newBacktestCmd(e),
		newReportCmd(e),
		newIncidentCmd(e),
		newLedgerCmd(e),
		newNotifyCmd(e),
		newSilenceCmd(e),
		newStoreCmd(e),
		newCheckCmd(e),
		newTestCmd(e),
		newConfigCmd(e),
		newBenchCmd(e),
		newTokenCmd(e),
		newDoctorCmd(e),
		newHealthCmd(e),
		newSBOMCmd(e),
		newVersionCmd(e),
	)
	e.arm(root)
	return root
}

func (e *env) flags(root *cobra.Command) {
	fromEnv := func(name, absent string) string {
		if text, ok := e.lookup(name); ok && text != "" {
			return text
		}
		return absent
	}
	f := root.PersistentFlags()
	f.StringVarP(&e.output, "output", "o", "", "format of stdout: table, json, yaml, csv or ndjson (default table)")
	f.StringVar(&e.color, "color", "auto", "colours: auto, always or never; NO_COLOR means never")
	f.StringVar(&e.server, "server", fromEnv("DRIFTD_SERVER", defaultServer), "address of a running daemon; $DRIFTD_SERVER")
	f.StringVar(&e.tokenFile, "token-file", "", "file with the token for --server; $DRIFTD_TOKEN holds the token itself")
	f.StringVar(&e.tls.ca, "cacert", fromEnv("DRIFTD_CACERT", ""), "CAs in PEM that sign the certificate of an https --server, instead of the system's; $DRIFTD_CACERT")
	f.StringVar(&e.tls.cert, "cert", fromEnv("DRIFTD_CERT", ""), "client certificate in PEM to show to an https --server; $DRIFTD_CERT")
	f.StringVar(&e.tls.key, "key", fromEnv("DRIFTD_KEY", ""), "its key, unless that is in the same file; $DRIFTD_KEY")
	f.StringVar(&e.logFormat, "log-format", "auto", "format of the log on stderr: auto (text on a terminal), text or json")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "no progress, and no log below errors")
	f.CountVarP(&e.verbose, "verbose", "v", "log more; twice for everything")
	f.StringVar(&e.progress, "progress", "auto", "progress on stderr: auto (a bar on a terminal, else a JSON line every 5 s), bar, json or none")
	f.DurationVar(&e.timeout, "timeout", 30*time.Second, "how long to wait for one answer of the daemon or of NATS")
}

// check refuses global flags that mean nothing. It runs before every command.
func (e *env) check(cmd *cobra.Command) error {
	known := formats
	if extra := cmd.Annotations[formatsKey]; extra != "" {
		known = append(slices.Clone(formats), strings.Split(extra, ",")...)
	}
	for _, f := range []struct {
		flag, value string
		known       []string
	}{
		{"output", e.output, append([]string{""}, known...)},
		{"color", e.color, []string{"auto", "always", "never"}},
		{"log-format", e.logFormat, []string{"auto", "text", "json"}},
		{"progress", e.progress, []string{"auto", "bar", "json", "none"}},
	} {
		if !slices.Contains(f.known, f.value) {
			return fmt.Errorf("--%s %q: use %s", f.flag, f.value, strings.Trim(strings.Join(f.known, ", "), ", "))
		}
	}
	if e.quiet && e.verbose > 0 {
		return fmt.Errorf("--quiet and --verbose exclude each other")
	}
	if e.timeout <= 0 {
		return fmt.Errorf("--timeout %s: use more than 0, such as 30s", e.timeout)
	}
	return nil
}

// arm makes every command note that it runs, which is how run tells mistakes in
// the use of a command from its failures: cobra reports both as plain errors. A
// refusal of arguments shows how the command is written.
func (e *env) arm(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		e.arm(sub)
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.RunE, cmd.Args = group, cobra.ArbitraryArgs
	}
	if cmd.HasSubCommands() || cmd.RunE == nil {
		return
	}
	if fits := cmd.Args; strings.Contains(cmd.Use, " ") { // it has arguments to be shown
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := fits(cmd, args); err != nil {
				return fmt.Errorf("%w: write %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e.running = true
		return inner(cmd, args)
	}
}

// group is the action of a command that only holds others: help, or a
// suggestion when its argument is none of them.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2 // cobra's default, which it sets too late for this
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, " or "))
	}
	return err
}

// terminal reports whether a stream is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether what goes to a stream may be coloured.
func (e *env) colours(stream any) bool {
	switch no, set := e.lookup("NO_COLOR"); {
	case e.color == "always":
		return true
	case e.color == "never", set && no != "":
		return false
	}
	return terminal(stream)
}

// logger writes to stderr in the format that --log-format asks for.
func (e *env) logger() zerolog.Logger {
	level := zerolog.InfoLevel
	switch {
	case e.quiet:
		level = zerolog.ErrorLevel
	case e.verbose == 1:
		level = zerolog.DebugLevel
	case e.verbose > 1:
		level = zerolog.TraceLevel
	}
	out := e.err
	if e.logFormat == "text" || e.logFormat == "auto" && terminal(e.err) {
		out = zerolog.ConsoleWriter{Out: e.err, NoColor: !e.colours(e.err), TimeFormat: time.RFC3339}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}
