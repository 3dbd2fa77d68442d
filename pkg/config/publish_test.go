package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/config"
)

func TestPublishedWindows(t *testing.T) {
	if config.Default().PublishesWindows() {
		t.Error("windows are published by default")
	}
	c := load(t, `
publish: {windows: [1h]}
models: [{name: fraud, publish_windows: [5m, 24h]}, {name: "quiet-*", publish_windows: []}, {name: churn}]
`, nil)
	got := map[string][]time.Duration{}
	for _, model := range []string{"fraud", "quiet-1", "churn", "other"} {
		got[model] = c.PublishedWindows(model)
	}
	want := map[string][]time.Duration{"fraud": {5 * time.Minute, 24 * time.Hour}, "quiet-1": {}, "churn": {time.Hour}, "other": {time.Hour}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !c.PublishesWindows() || !load(t, "models: [{name: fraud, publish_windows: [1h]}]", nil).PublishesWindows() {
		t.Error("it is not seen that windows are published")
	}
	without := load(t, `models: [{name: fraud}, {name: "quiet-*"}, {name: churn}]`, nil)
	if c.DecisionHash() != without.DecisionHash() || c.Hash() == without.Hash() {
		t.Error("what is published is no decision, and part of what runs")
	}
}

func TestCheckpointKey(t *testing.T) {
	dir := t.TempDir()
	c := config.Default()
	c.Store.Dir = dir
	first, err := c.CheckpointKey()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.CheckpointKey(); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the second call gives another key: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "checkpoint.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the key: %v, %v", info, err)
	}
	c.Publish.Checkpoint = 0
	if key, err := c.CheckpointKey(); key != nil || err != nil {
		t.Errorf("without checkpoints: %v, %v", key, err)
	}
	seed := strings.Repeat("0f", 32)
	given, err := load(t, "publish: {checkpoint_key: "+seed+"}", nil).CheckpointKey()
	if err != nil || !bytes.Equal(given.Seed(), bytes.Repeat([]byte{0x0f}, 32)) {
		t.Errorf("the configured key: %x, %v", given.Seed(), err)
	}
	for name, text := range map[string]string{"short": "0f0f", "no hex": strings.Repeat("xy", 32), "empty": ""} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := load(t, "publish: {checkpoint_key_file: "+file+"}", nil).CheckpointKey(); err == nil {
			t.Errorf("%s: %x is a key", name, key)
		}
	}
}
