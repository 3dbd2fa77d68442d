package config_test

import (
	"testing"

	"driftd.dev/driftd/pkg/config"
)

// People hear of incidents, and so does who is not named any more.
func TestGrouped(t *testing.T) {
	c := config.Config{Receivers: []config.Receiver{
		{Name: "chat", Slack: &config.Slack{}}, {Name: "machine", NATS: &config.Signal{}}, {Name: "am", Alertmanager: &config.Alertmanager{}},
	}}
	for name, want := range map[string]bool{"chat": true, "machine": false, "am": false, config.SignalReceiver: false, "gone": true} {
		if got := c.Grouped(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
