package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Checkpoint says how long the ledger of a store was at a time, and the hash of its
// last entry. Who keeps one elsewhere can prove later that nothing up to that entry was
// changed since: each hash covers all entries before.
//
// Its text is a signed note (c2sp.org/signed-note), whose lines are an origin, the
// number of entries, the hash in base64 and the time:
//
//	driftd.dev/ledger/4fe1c8d2-…
//	812
//	qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=
//	2026-11-22T21:00:00Z
//
//	— driftd.dev/ledger/4fe1c8d2-… LkNq…
//
// The hash is the head of a chain, not the root of a tree: witnesses of
// transparency logs keep such notes, and cannot compare two of them.
type Checkpoint struct {
	Store string // id of the store
	Chain
	At time.Time // when it was signed, to the second
}

const (
	checkpointOrigin = "driftd.dev/ledger/"
	noteDash         = "— " // begins a signature
	algEd25519       = 1    // of signed notes
)

// ErrCheckpoint is wrapped by every error about the text of a checkpoint.
var ErrCheckpoint = errors.New("no checkpoint of a ledger")

// name is what signs: each store has a key of its own.
func (c Checkpoint) name() string { return checkpointOrigin + c.Store }

func (c Checkpoint) text() string {
	return c.name() + "\n" + strconv.FormatUint(c.Seq, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Hash[:]) + "\n" + c.At.UTC().Format(time.RFC3339) + "\n"
}

// Sign returns the note of c.
func (c Checkpoint) Sign(key ed25519.PrivateKey) string {
	text := c.text()
	signature := binary.BigEndian.AppendUint32(nil, keyID(c.name(), public(key)))
	signature = append(signature, ed25519.Sign(key, []byte(text))...)
	return text + "\n" + noteDash + c.name() + " " + base64.StdEncoding.EncodeToString(signature) + "\n"
}

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[len(key)-ed25519.PublicKeySize:])
}

// keyID is the hash that notes name a key by.
func keyID(name string, key ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), append([]byte{algEd25519}, key...)...))
	return binary.BigEndian.Uint32(sum[:])
}

// VerifierKey returns the public half of the key by which a store signs, as tools for
// signed notes write it: name+id+key.
func VerifierKey(store string, key ed25519.PrivateKey) string {
	name, pub := checkpointOrigin+store, public(key)
	encoded := base64.StdEncoding.EncodeToString(append([]byte{algEd25519}, pub...))
	return fmt.Sprintf("%s+%08x+%s", name, keyID(name, pub), encoded)
}

// A Note is a checkpoint as it was read: its signature is not checked.
type Note struct {
	Checkpoint
	signature []byte
}

// ParseNote reads the note of a checkpoint. Signatures of others are allowed:
// witnesses add them. Its errors wrap ErrCheckpoint.
func ParseNote(note string) (n Note, err error) {
	text, signatures, ok := strings.Cut(note, "\n\n")
	lines := strings.Split(text, "\n")
	if !ok || len(lines) < 4 {
		return n, fmt.Errorf("%w: it is four lines, an empty one and a signature", ErrCheckpoint)
	}
	var found bool
	if n.Store, found = strings.CutPrefix(lines[0], checkpointOrigin); !found || n.Store == "" {
		return n, fmt.Errorf("%w: it begins with %.80q, not with %s and the id of a store", ErrCheckpoint, lines[0], checkpointOrigin)
	}
	if n.Seq, err = strconv.ParseUint(lines[1], 10, 64); err != nil {
		return n, fmt.Errorf("%w: %.80q is no number of entries", ErrCheckpoint, lines[1])
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(hash) != len(n.Hash) {
		return n, fmt.Errorf("%w: %.80q is no hash", ErrCheckpoint, lines[2])
	}
	copy(n.Hash[:], hash)
	if n.At, err = time.Parse(time.RFC3339, lines[3]); err != nil {
		return n, fmt.Errorf("%w: %.80q is no time", ErrCheckpoint, lines[3])
	}
	if len(lines) > 4 || n.text() != text+"\n" {
		return n, fmt.Errorf("%w: it is not written as driftd writes it", ErrCheckpoint)
	}
	for line := range strings.SplitSeq(signatures, "\n") {
		encoded, ours := strings.CutPrefix(line, noteDash+n.name()+" ")
		if !ours {
			continue
		}
		if n.signature, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return n, fmt.Errorf("%w: its signature is no base64", ErrCheckpoint)
		}
	}
	if len(n.signature) != 4+ed25519.SignatureSize {
		return n, fmt.Errorf("%w: it is not signed by %s", ErrCheckpoint, n.name())
	}
	return n, nil
}

// Verify checks the signature by what VerifierKey has returned. Its errors wrap
// ErrCheckpoint.
func (n Note) Verify(verifier string) error {
	name, rest, _ := strings.Cut(strings.TrimSpace(verifier), "+")
	id, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algEd25519 {
		return fmt.Errorf("%w: the key is not name+id+key, as the message and the log have it", ErrCheckpoint)
	}
	key := ed25519.PublicKey(raw[1:])
	if want := binary.BigEndian.AppendUint32(nil, keyID(name, key)); hex.EncodeToString(want) != id {
		return fmt.Errorf("%w: the key does not fit its own name and id", ErrCheckpoint)
	}
	if name != n.name() {
		return fmt.Errorf("%w: it is of %s, and the key of %s", ErrCheckpoint, n.name(), name)
	}
	if binary.BigEndian.Uint32(n.signature) != keyID(name, key) || !ed25519.Verify(key, []byte(n.text()), n.signature[4:]) {
		return fmt.Errorf("%w: its signature is not by the key of %s", ErrCheckpoint, name)
	}
	return nil
}

// Holds checks that a ledger has not been changed since c: its entry of c's number has
// c's hash. entry is that entry, taken from a chain that was verified; the zero Chain
// if c.Seq is 0. The error wraps ErrBroken.
func (c Checkpoint) Holds(entry Chain) error {
	if entry != c.Chain {
		return fmt.Errorf("%w: entry %d has the hash %s, and had %s when the checkpoint of %s was signed: the ledger was written anew",
			ErrBroken, c.Seq, entry.Hash, c.Hash, c.At.UTC().Format(time.RFC3339))
	}
	return nil
}
