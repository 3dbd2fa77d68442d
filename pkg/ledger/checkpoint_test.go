package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

const store = "4fe1c8d2-0000-4000-8000-000000000001"

func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func checkpoint() ledger.Checkpoint {
	c := ledger.Checkpoint{Store: store, At: time.Date(2026, 11, 22, 21, 0, 0, 0, time.UTC)}
	c.Seq = 812
	for i := range c.Hash {
		c.Hash[i] = byte(i)
	}
	return c
}

// TestCheckpoint: the note is what C2SP's signed-note says, byte by byte, and is read
// and verified again. The signature and the key were checked with
// golang.org/x/mod/sumdb/note.Open (v0.29.0).
func TestCheckpoint(t *testing.T) {
	c := checkpoint()
	note := c.Sign(key(1))
	want := "driftd.dev/ledger/" + store + "\n812\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n2026-11-22T21:00:00Z\n\n— driftd.dev/ledger/" + store + " "
	if !strings.HasPrefix(note, want) || strings.Count(note, "\n") != 6 {
		t.Errorf("the note is\n%s", note)
	}
	n, err := ledger.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	if n.Checkpoint != c {
		t.Errorf("read %+v, want %+v", n.Checkpoint, c)
	}
	if err := n.Verify(ledger.VerifierKey(store, key(1)) + "\n"); err != nil {
		t.Error(err)
	}
	witnessed, err := ledger.ParseNote(note + "— witness.example/w1 AAAAAAAA\n")
	if err != nil || witnessed.Verify(ledger.VerifierKey(store, key(1))) != nil {
		t.Errorf("with the signature of a witness: %v", err)
	}
}

// TestForgedCheckpoints: whatever of a note is changed, it is refused.
func TestForgedCheckpoints(t *testing.T) {
	c, verifier := checkpoint(), ledger.VerifierKey(store, key(1))
	note := c.Sign(key(1))
	replaced := func(old, with string) string {
		if !strings.Contains(note, old) {
			t.Fatalf("%q is not in the note", old)
		}
		return strings.ReplaceAll(note, old, with)
	}
	for name, forged := range map[string]string{
		"fewer entries":      replaced("\n812\n", "\n811\n"),
		"another hash":       replaced("AAECAwQ", "ABECAwQ"),
		"an earlier time":    replaced("T21:", "T20:"),
		"another store":      replaced(store, strings.Replace(store, "4fe1", "4fe2", 1)),
		"another key":        c.Sign(key(2)),
		"no signature":       note[:strings.Index(note, "—")],
		"a line more":        replaced("00Z\n", "00Z\nmore\n"),
		"no number":          replaced("812", "many"),
		"a number's zero":    replaced("812", "0812"),
		"no hash":            replaced("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAEC"),
		"no time":            replaced("2026-11-22T21:00:00Z", "yesterday"),
		"a time of its own":  replaced("2026-11-22T21:00:00Z", "2026-11-22T22:00:00+01:00"),
		"no ledger":          replaced("driftd.dev/ledger/", "sum.golang.org/"),
		"no base64":          note[:len(note)-4] + "!!!\n",
		"a signature cut":    note[:len(note)-8] + "\n",
		"empty":              "",
		"nothing but a text": "head of the ledger",
	} {
		n, err := ledger.ParseNote(forged)
		if err == nil {
			err = n.Verify(verifier)
		}
		if !errors.Is(err, ledger.ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n, err := ledger.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	for name, verifier := range map[string]string{
		"empty": "", "no base64": "a+00000000+!", "of another store": ledger.VerifierKey("other", key(1)), "another id": strings.Replace(verifier, "+", "+0", 1),
		"another algorithm": strings.Replace(verifier, "+AY", "+AI", 1), "another key": ledger.VerifierKey(store, key(2)),
	} {
		if err := n.Verify(verifier); !errors.Is(err, ledger.ErrCheckpoint) {
			t.Errorf("verifier %s: %v", name, err)
		}
	}
}

// TestHolds: a ledger that was written anew has another hash under the same number.
func TestHolds(t *testing.T) {
	c := checkpoint()
	if err := c.Holds(c.Chain); err != nil {
		t.Error(err)
	}
	other := c.Chain
	other.Hash[0]++
	if err := c.Holds(other); !errors.Is(err, ledger.ErrBroken) {
		t.Errorf("another hash: %v", err)
	}
}

func FuzzParseNote(f *testing.F) {
	f.Add(checkpoint().Sign(key(1)))
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ledger.ParseNote(text)
		if err != nil {
			return
		}
		if again, err := ledger.ParseNote(n.Sign(key(1))); err != nil || again.Checkpoint != n.Checkpoint {
			t.Errorf("%q is read as %+v, and that as %+v: %v", text, n.Checkpoint, again.Checkpoint, err)
		}
	})
}
