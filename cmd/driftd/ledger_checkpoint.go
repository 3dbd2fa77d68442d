package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"

	"driftd.dev/driftd/pkg/ledger"
)

// checkpoints are heads of a ledger that somebody has kept.
type checkpoints []ledger.Note

// readCheckpoints reads files with notes: one as it is, or JSON with notes in it, as
// driftd.audit.checkpoint and driftd's log have them. verifier, unless it is "", is the
// key that must have signed each.
func readCheckpoints(files []string, verifier string) (out checkpoints, err error) {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		notes, err := notesOf(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, text := range notes {
			n, err := ledger.ParseNote(text)
			if err == nil && verifier != "" {
				err = n.Verify(verifier)
			}
			if err != nil {
				return nil, withCode(codeRefused, fmt.Errorf("%s: %w", file, err))
			}
			out = append(out, n)
		}
	}
	return out, nil
}

// notesOf returns the notes of a file.
func notesOf(text []byte) (notes []string, err error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return []string{string(text)}, nil
	}
	for in := json.NewDecoder(bytes.NewReader(text)); ; {
		var line struct{ Note string }
		switch err := in.Decode(&line); {
		case errors.Is(err, io.EOF) && len(notes) == 0:
			return nil, errors.New("there is no note of a checkpoint in it")
		case errors.Is(err, io.EOF):
			return notes, nil
		case err != nil:
			return nil, fmt.Errorf("it is neither a note nor JSON, one object after the other: %w", err)
		}
		if line.Note != "" {
			notes = append(notes, line.Note)
		}
	}
}

// errForgotten says that retention has removed the entry of a checkpoint.
var errForgotten = errors.New("retention has removed the entries up to it, so that it proves nothing any more: keep exports, or a longer store.retention.ledger")

// about reports whether a checkpoint was signed when there were so many entries.
func (cs checkpoints) about(seq uint64) bool {
	return slices.ContainsFunc(cs, func(n ledger.Note) bool { return n.Seq == seq })
}

// prove adds to the proof of a ledger of so many entries what checkpoints say. find
// returns how the chain was after a number of them; it is asked for no more than there
// are. What is found is in the proof, and an error is one of looking.
func (cs checkpoints) prove(p *proof, entries uint64, find func(seq uint64) (ledger.Chain, error)) error {
	for _, c := range cs {
		if !p.OK {
			return nil
		}
		if c.Seq > entries {
			p.refuted(fmt.Errorf("%w: it has %d entries, and had %d when the checkpoint of %s was signed: it was cut off, or is of another store",
				ledger.ErrBroken, entries, c.Seq, c.At.Format(timeLayout)))
			return nil
		}
		entry, err := find(c.Seq)
		if err != nil {
			return fmt.Errorf("checkpoint of %s at entry %d: %w", c.At.Format(timeLayout), c.Seq, err)
		}
		if p.refuted(c.Holds(entry)) {
			return nil
		}
		p.Checkpoints++
	}
	return nil
}

// refuted reports whether there is an error of the ledger, and notes it.
func (p *proof) refuted(err error) bool {
	if err != nil {
		p.OK, p.Error = false, err.Error()
	}
	return err != nil
}

// entryBehind returns how the chain of the daemon's ledger, which it has verified, was
// after so many entries.
func (c *client) entryBehind(ctx context.Context, seq uint64) (chain ledger.Chain, err error) {
	if seq == 0 {
		return chain, nil
	}
	var page struct {
		Items []ledger.Entry `json:"items"`
	}
	query := url.Values{"after": {strconv.FormatUint(seq-1, 10)}, "limit": {"1"}}
	if err := c.get(ctx, "/api/v1/ledger", query, &page); err != nil {
		return chain, err
	}
	if len(page.Items) == 0 {
		return chain, errForgotten
	}
	e := page.Items[0]
	v := ledger.Verifier{Tip: ledger.Chain{Seq: e.Seq - 1, Hash: e.Prev}}
	if err := v.Check(e); err != nil {
		return chain, err
	}
	switch e.Seq {
	case seq:
		return v.Tip, nil
	case seq + 1: // the first that was kept names the one before
		return ledger.Chain{Seq: seq, Hash: e.Prev}, nil
	}
	return chain, errForgotten
}

// unsigned warns of checkpoints that nobody has checked the signatures of.
func (e *env) unsigned(cs checkpoints, verifier string) {
	if len(cs) > 0 && verifier == "" {
		fmt.Fprintln(e.err, "driftd: the signatures were not checked: name the key with --checkpoint-key, as the first message on driftd.audit.checkpoint had it")
	}
}
