package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/store"
)

// Silences come back as they were put last, until they are deleted.
func TestSilences(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	one := incident.Silence{
		ID: "01", Kind: incident.KindExpected, Matchers: []string{`model=~"fraud|\x00"`}, StartsAt: epoch, EndsAt: epoch.Add(time.Hour),
		CreatedBy: "ann", Comment: "a new shop", CreatedAt: epoch, UpdatedAt: epoch,
	}
	other := one
	other.ID, other.Kind = "00\x00", incident.KindSilence
	commit(t, s, func(b *store.Batch) { b.PutSilence(one); b.PutSilence(other) })
	check := func(want ...incident.Silence) {
		t.Helper()
		got, err := s.Silences()
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		r, err := s.Resume()
		must(t, err)
		if diff := cmp.Diff(want, r.Silences); diff != "" {
			t.Error(diff)
		}
		if v := verify(t, s); !v.OK() {
			t.Error(v.Err())
		}
	}
	check(other, one)
	one.EndsAt = epoch
	commit(t, s, func(b *store.Batch) { b.PutSilence(one); b.DeleteSilence("99") })
	must(t, s.Close())
	s = open(t, dir, small())
	check(other, one)
	commit(t, s, func(b *store.Batch) { b.PutSilence(other); b.DeleteSilence(other.ID) })
	check(one)
	commit(t, s, func(b *store.Batch) { b.DeleteSilence(one.ID) })
	check()
}
