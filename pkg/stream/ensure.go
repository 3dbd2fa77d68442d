package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamSpec describes a stream that driftd needs.
type StreamSpec struct {
	Name     string
	Subjects []string
	MaxBytes int64         // 0 = no limit
	MaxAge   time.Duration // 0 = no limit
	Window   time.Duration // in which a repeated Nats-Msg-Id is a duplicate; 0 = 2 min
	Memory   bool          // stored in memory: tests and benches only
	Acked    bool          // its reader acknowledges: one that exists may have any retention
}

// InputStream is the default input: ML on ml.>.
func InputStream() StreamSpec { return StreamSpec{Name: "ML", Subjects: []string{"ml.>"}} }

// SignalStream is where signals go: DRIFTD on driftd.>.
func SignalStream() StreamSpec { return StreamSpec{Name: "DRIFTD", Subjects: []string{"driftd.>"}} }

// EnsureStream makes sure that a stream exists which driftd can use, and returns
// its info. A stream that exists is never changed: it belongs to its operator. It
// is refused with a *RetentionError when messages vanish on acknowledgement
// and nobody acknowledges, and
// with an error when it holds none of the subjects wanted.
func EnsureStream(ctx context.Context, js jetstream.JetStream, spec StreamSpec) (*jetstream.StreamInfo, error) {
	s, err := js.Stream(ctx, spec.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, spec.config())
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was faster
			s, err = js.Stream(ctx, spec.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ensure stream %s: %w", spec.Name, err)
	}
	info := s.CachedInfo()
	if info.Config.Retention != jetstream.LimitsPolicy && !spec.Acked {
		return nil, &RetentionError{Stream: spec.Name, Retention: info.Config.Retention}
	}
	if !shares(info.Config, spec.Subjects) {
		return nil, fmt.Errorf("ensure stream %s: it holds %v, none of %v; "+
			"configure its subjects or name another stream", spec.Name, info.Config.Subjects, spec.Subjects)
	}
	return info, nil
}

func (s StreamSpec) config() jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, Description: "created by driftd",
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		MaxBytes: s.MaxBytes, MaxAge: s.MaxAge, Duplicates: s.Window,
		AllowDirect: true,
	}
	if s.Memory {
		cfg.Storage = jetstream.MemoryStorage
	}
	if s.MaxBytes == 0 {
		cfg.MaxBytes = -1
	}
	return cfg
}

// shares tells whether the stream can hold any of the subjects wanted. Mirrors
// and sourced streams may, without naming subjects.
func shares(cfg jetstream.StreamConfig, wanted []string) bool {
	if cfg.Mirror != nil || len(cfg.Sources) > 0 || len(wanted) == 0 {
		return true
	}
	for _, have := range cfg.Subjects {
		for _, want := range wanted {
			if covers(have, want) || covers(want, have) {
				return true
			}
		}
	}
	return false
}
