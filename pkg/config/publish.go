package config

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Publish says what machines are told on NATS beside decisions.
type Publish struct {
	Windows           []Duration `json:"windows" jsonschema:"closed windows of these sizes are published on driftd.windows.<model>, some of windows.sizes; models may have their own"`
	MinCount          int        `json:"min_count" jsonschema:"in published windows rarer categories count together, and of a feature with fewer values none is told, and of a segment with fewer events nothing; 0: all are"`
	Checkpoint        Duration   `json:"checkpoint" config:"restart" jsonschema:"how often the head of the ledger is signed, logged and published on driftd.audit.checkpoint; 0 = never"`
	CheckpointKey     Secret     `json:"checkpoint_key" config:"restart" jsonschema:"Ed25519 seed in 64 hex digits that signs it; without one driftd makes one and keeps it in the store's folder"`
	CheckpointKeyFile string     `json:"checkpoint_key_file" config:"restart" jsonschema:"file that holds the seed; at most one of checkpoint_key and checkpoint_key_file"`
}

const (
	maxMinCount        = 1_000_000
	shortestCheckpoint = Duration(time.Second)
	longestCheckpoint  = 31 * day
)

func (v *validator) publish(c *Config) {
	v.published("publish.windows", c.Publish.Windows, c)
	for i, m := range c.Models {
		v.published(fmt.Sprintf("models[%d].publish_windows", i), m.PublishWindows, c)
	}
	if n := c.Publish.MinCount; n < 0 || n > maxMinCount {
		v.fault("publish.min_count", "%d is not between 0 and %d", n, maxMinCount)
	}
	if every := c.Publish.Checkpoint; every != 0 && (every < shortestCheckpoint || every > longestCheckpoint) {
		v.fault("publish.checkpoint", "%s is neither 0 nor between %s and %s", every, shortestCheckpoint, longestCheckpoint)
	}
	v.atMostOne("publish", "checkpoint_key", c.Publish.CheckpointKey.Set(), c.Publish.CheckpointKeyFile != "")
	if key := c.Publish.CheckpointKey; key.Set() {
		if _, err := parseSeed(key.Reveal()); err != nil {
			v.fault("publish.checkpoint_key", "%v", err)
		}
	}
}

// published checks sizes of windows that are published.
func (v *validator) published(path string, sizes []Duration, c *Config) {
	for i, size := range sizes {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !slices.Contains(c.Windows.Sizes, size) {
			v.fault(at, "%s is none of windows.sizes (%s)", size, durations(c.Windows.Sizes))
		} else if slices.Contains(sizes[:i], size) {
			v.fault(at, "%s is given twice", size)
		}
	}
}

// PublishedWindows returns the sizes of a model's windows that are published.
func (c *Config) PublishedWindows(model string) []time.Duration {
	sizes := c.Publish.Windows
	if m := c.model(model); m != nil && m.PublishWindows != nil {
		sizes = m.PublishWindows
	}
	out := make([]time.Duration, len(sizes))
	for i, size := range sizes {
		out[i] = size.Std()
	}
	return out
}

// PublishesWindows reports whether windows of any model may be published.
func (c *Config) PublishesWindows() bool {
	return len(c.Publish.Windows) > 0 || slices.ContainsFunc(c.Models, func(m Model) bool { return len(m.PublishWindows) > 0 })
}

// unpublished is c.Models without what is published of them.
func (c *Config) unpublished() []Model {
	out := slices.Clone(c.Models)
	for i := range out {
		out[i].PublishWindows = nil
	}
	return out
}

// checkpointKeyName is the file in the store's folder that holds a seed driftd made.
const checkpointKeyName = "checkpoint.key"

// CheckpointKey returns what signs checkpoints of the ledger: the configured key or,
// without one, that in the store's folder, which the first call makes. It is nil when
// none is published. Call it after the store is locked.
func (c *Config) CheckpointKey() (ed25519.PrivateKey, error) {
	p := c.Publish
	if p.Checkpoint == 0 {
		return nil, nil
	}
	if p.CheckpointKey.Set() || p.CheckpointKeyFile != "" {
		text, err := c.Source(p.CheckpointKey, p.CheckpointKeyFile)()
		if err != nil {
			return nil, err
		}
		return parseSeed(text)
	}
	path := filepath.Join(c.Store.Dir, checkpointKeyName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeKey(path, "checkpoints")
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of checkpoints: %w", err)
	}
	return parseSeed(string(text))
}

// parseSeed returns the key of a seed in hex.
func parseSeed(text string) (ed25519.PrivateKey, error) {
	seed, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("a key of checkpoints is %d hex digits: openssl rand -hex %d", 2*ed25519.SeedSize, ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
