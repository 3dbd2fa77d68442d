package detect_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
)

// Whatever bytes are stored, reading them gives a value that is written as it was
// read, or ErrCodec.
func FuzzDecode(f *testing.F) {
	c := detect.DefaultConfig("m")
	c.MaxDetectors = 3
	tr := &traffic{random: rand.New(rand.NewPCG(1, 1))}
	part := tr.part(1000)
	var past []*drift.Window
	for i := range detect.MinReference {
		past = append(past, tr.window(part, epoch.Add(time.Duration(i)*time.Hour), time.Hour, 100))
	}
	learned, rows, err := detect.Learn(&c, "b-1", part, past)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []*detect.State{detect.NewState(&c, "b-1", part), learned} {
		data, err := detect.AppendState(nil, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(detect.AppendFit(nil, s.Fit()), data, rows.AppendChunk(nil, 0))
	}
	f.Fuzz(func(t *testing.T, fit, state, chunk []byte) {
		decoded, err := detect.DecodeFit(fit)
		refused(t, "fit", err)
		if err == nil {
			again, err := detect.DecodeFit(detect.AppendFit(nil, decoded))
			if err != nil || !bytes.Equal(detect.AppendFit(nil, again), detect.AppendFit(nil, decoded)) {
				t.Errorf("the fit %q is not written as it was read: %v", fit, err)
			}
		} else {
			decoded = learned.Fit()
		}
		s, err := detect.DecodeState(state, decoded)
		refused(t, "state", err)
		if err == nil {
			first, errFirst := detect.AppendState(nil, s)
			again, err := detect.DecodeState(first, decoded)
			if err = errors.Join(errFirst, err); err != nil {
				t.Fatalf("the state %q is not written as it was read: %v", state, err)
			}
			if second, err := detect.AppendState(nil, again); err != nil || !bytes.Equal(first, second) {
				t.Errorf("the state %q is not written as it was read: %v", state, err)
			}
		}
		var r detect.Rows
		refused(t, "rows", r.AddChunk(chunk))
	})
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, detect.ErrCodec) {
		t.Errorf("%s: %v, want %v", what, err, detect.ErrCodec)
	}
}
