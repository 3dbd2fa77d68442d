package lifecycle

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// A Decision is one thing that should happen. Exactly one field is set.
type Decision struct {
	Retrain  *Retrain
	Rollback *Rollback
}

// Suppressed returns why nothing is sent, "" if the decision stands.
func (d Decision) Suppressed() string {
	if d.Retrain != nil {
		return d.Retrain.Suppressed
	}
	return d.Rollback.Suppressed
}

// A Retrain asks for a new version of a model, trained on what Manifest names.
type Retrain struct {
	Model        string
	ModelVersion string // "" if the alerts are about several
	Reason       string
	AlertIDs     []string // ledger ids of the alerts that asked
	Manifest     Manifest
	Suppressed   string
}

// A Manifest names everything that a training run needs to be repeated.
type Manifest struct {
	Data          ManifestData
	Baseline      string
	Labels        ManifestLabels
	SamplesDigest string
	Seed          uint64 // set by Decide
	ConfigHash    string
	Driftd        string // version of the program
}

// ManifestData names the part of the stream to train on.
type ManifestData struct {
	Stream  string
	FromSeq uint64
	ToSeq   uint64
	From    time.Time
	To      time.Time
}

// ManifestLabels counts the labels joined in the span and digests them.
type ManifestLabels struct {
	Count  uint64
	Digest string
}

// A Rollback asks to move all traffic of FromVersion to ToVersion.
type Rollback struct {
	Model       string
	FromVersion string
	ToVersion   string // "" if there is none; then it is suppressed
	Reason      string
	AlertIDs    []string
	Evidence    RollbackEvidence
	Suppressed  string
}

// RollbackEvidence says which rule spoke and on how many events.
type RollbackEvidence struct {
	Test     string // "rule:<name>"
	NCanary  uint64 // events that FromVersion answered in the last closed window
	NControl uint64 // primary events that ToVersion answered in it
}

// Seed derives a training seed from the id of the ledger entry that asked, so
// that anybody who holds the ledger can check it. It fits 32 bits, which is what
// NumPy takes.
func Seed(entryID string) uint64 {
	sum := sha256.Sum256([]byte("driftd/seed/1 " + entryID))
	return uint64(binary.BigEndian.Uint32(sum[:4]))
}
