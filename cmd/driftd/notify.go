package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
)

func newNotifyCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "notify",
		Short:   "Try the receivers of alerts",
		Long:    "Try the receivers of alerts before an alert has to get through to them.",
		Example: "  driftd notify test --receiver oncall",
	}
	cmd.AddCommand(newNotifyTestCmd(e))
	return cmd
}

func newNotifyTestCmd(e *env) *cobra.Command {
	var receiver, file string
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Send a test to one receiver",
		Long: `Tell one receiver of an alert named DriftdTest, severity info, and of its end, and
print what it answered. An incident that this opens is closed at once.

A running daemon sends it, with its own settings and secrets. With -c the messages
come from this process, by that configuration, daemon or none. The exit code is 1
when the receiver does not take them.`,
		Example: "  driftd notify test --receiver oncall\n  driftd notify test --receiver slack -c driftd.yaml -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := e.tryReceiver(cmd.Context(), receiver, file)
			if err != nil {
				return err
			}
			return e.tried(out)
		},
	}
	cmd.Flags().StringVar(&receiver, "receiver", "", "name of the receiver, as configured")
	cmd.Flags().StringVarP(&file, "config", "c", "", "send from here, by this configuration")
	_ = cmd.MarkFlagRequired("receiver") // it exists
	return cmd
}

func (e *env) tryReceiver(ctx context.Context, name, file string) (out api.ReceiverTry, err error) {
	if file != "" {
		c, err := loadConfig(file)
		if err != nil {
			return out, err
		}
		return daemon.TryReceiver(ctx, c, name, nil)
	}
	c, err := e.client()
	if err != nil {
		return out, err
	}
	err = c.do(ctx, http.MethodPost, "/api/v1/receivers/"+url.PathEscape(name)+"/test", call{}, &out)
	return out, err
}

var errNotTaken = errors.New("the receiver did not take the test")

func (e *env) tried(out api.ReceiverTry) error {
	r := result{value: out, sheet: sheet{head: []string{"receiver", "message", "took_s", "error"}}}
	for _, s := range out.Steps {
		r.items = append(r.items, s)
		r.rows = append(r.rows, []any{out.Receiver, s.Status, s.Took, s.Error})
	}
	if err := e.print(r); err != nil {
		return err
	}
	if !out.OK {
		return errNotTaken
	}
	return nil
}
