package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/ledger"
)

// at is the event time of the tests' decisions: the start of the demo clock and
// 123 ms, to see that a ULID keeps milliseconds.
var at = time.Date(2026, 1, 1, 0, 0, 0, 123_000_000, time.UTC)

func appendTo(t *testing.T, c *ledger.Chain, d ledger.Draft) ledger.Entry {
	t.Helper()
	e, err := c.Append(d)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The layout of what is hashed and the ids outlive every process. The numbers
// come from an independent computation with Python's hashlib and struct.
func TestGolden(t *testing.T) {
	var c ledger.Chain
	first := appendTo(t, &c, ledger.Draft{
		Time: at, StreamSeq: 77, Kind: ledger.KindConfig,
		Body: ledger.ConfigChange{Type: "config", Hash: "sha256:ab", Actor: "ops"},
	})
	second := appendTo(t, &c, ledger.Draft{
		Time: at, StreamSeq: 78, Kind: ledger.KindRollback, Model: "fraud",
		Body: ledger.Rollback{
			Type: "rollback", Model: "fraud", FromVersion: "43", ToVersion: "42", Reason: "psi 0.31 > 0.2",
			Evidence: ledger.RollbackEvidence{Test: "rule:Bad", NCanary: 100, NControl: 900},
		},
	})
	tests := map[string]struct{ got, want string }{
		"first id":    {first.ID, "01KDVDNA3V13G04SQZY2NCRS4Q"},
		"first body":  {string(first.Body), `{"type":"config","hash":"sha256:ab","actor":"ops"}`},
		"first prev":  {first.Prev.String(), "sha256:" + strings.Repeat("0", 64)},
		"first hash":  {first.Hash.String(), "sha256:be6da93d2b81e0d4e436c978d866ef08bf6b666af7140dbb4a7b182568872ec0"},
		"second id":   {second.ID, "01KDVDNA3VR87FD98XRE7ZY87Y"},
		"second prev": {second.Prev.String(), first.Hash.String()},
		"second hash": {second.Hash.String(), "sha256:1da3602ec88eea09f854f04463590a7994e4bf9ea612e2bdd6e54094e4231511"},
		"tip":         {c.Hash.String(), second.Hash.String()},
		"before 1970": {new(ledger.Chain).NextID(time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)), "000000000013G04SQZY2NCRS4Q"},
	}
	for name, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", name, test.got, test.want)
		}
	}
	data, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"seq":1,"id":"01KDVDNA3V13G04SQZY2NCRS4Q","time":"2026-01-01T00:00:00.123Z","stream_seq":77,"kind":"config",` +
		`"body":{"type":"config","hash":"sha256:ab","actor":"ops"},"prev":"sha256:` + strings.Repeat("0", 64) +
		`","hash":"sha256:be6da93d2b81e0d4e436c978d866ef08bf6b666af7140dbb4a7b182568872ec0"}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}

// journal makes five entries, among them texts that JSON escapes, a name that is
// not UTF-8, a time with nanoseconds in another zone, and an empty body.
func journal(t *testing.T) []ledger.Entry {
	t.Helper()
	var c ledger.Chain
	ends := at.Add(time.Hour)
	drafts := []ledger.Draft{
		{Time: at, Kind: ledger.KindEpoch, Body: ledger.EpochChange{Type: "epoch", Cause: "created", Stream: "ML", Epoch: 1}},
		{Time: at, StreamSeq: 5, Kind: ledger.KindAlert, Model: "fraud", Body: ledger.Alert{
			Type: "alert", Status: "resolved", Rule: "<A&B>\u2028", EndsAt: &ends, Stats: map[string]float64{"psi": 0.1, "n": 1e21}, Reason: "ü \"quoted\" \xff",
		}},
		{Time: at.Add(1234567 * time.Nanosecond).In(time.FixedZone("", 3600)), StreamSeq: 6, Kind: ledger.KindRetrain, Model: "bad\xff\xfename", Body: ledger.Retrain{Type: "retrain"}},
		{Time: at.Add(-time.Hour), StreamSeq: math.MaxUint64, Kind: ledger.KindBaseline, Model: "fraud", Body: ledger.BaselineChange{Type: "baseline"}},
		{Time: at, Kind: ledger.KindPromote},
	}
	entries := make([]ledger.Entry, len(drafts))
	for i, d := range drafts {
		id := c.NextID(d.Time)
		entries[i] = appendTo(t, &c, d)
		if entries[i].ID != id {
			t.Errorf("entry %d has id %s, announced was %s", i+1, entries[i].ID, id)
		}
		if c != (ledger.Chain{Seq: uint64(i + 1), Hash: entries[i].Hash}) {
			t.Errorf("the tip is %+v after entry %d", c, i+1)
		}
	}
	return entries
}

func verify(entries []ledger.Entry) error {
	var v ledger.Verifier
	for _, e := range entries {
		if err := v.Check(e); err != nil {
			return err
		}
	}
	return nil
}

func TestVerify(t *testing.T) {
	entries := journal(t)
	if err := verify(entries); err != nil {
		t.Error(err)
	}
	v := ledger.Verifier{Tip: ledger.Chain{Seq: entries[1].Seq, Hash: entries[1].Hash}}
	for _, e := range entries[2:] { // from the middle on, behind a known entry
		if err := v.Check(e); err != nil {
			t.Error(err)
		}
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.ID] || len(e.ID) != 26 {
			t.Errorf("id %q is not unique or not 26 digits", e.ID)
		}
		seen[e.ID] = true
	}
}

// An entry that was stored or exported as JSON still gives its hash, with and
// without the escaping of < > &.
func TestVerifyAfterJSON(t *testing.T) {
	for _, escape := range []bool{true, false} {
		var back []ledger.Entry
		for _, e := range journal(t) {
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(escape)
			if err := enc.Encode(e); err != nil {
				t.Fatal(err)
			}
			var out ledger.Entry
			if err := json.Unmarshal(buf.Bytes(), &out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, out); diff != "" {
				t.Error(diff)
			}
			back = append(back, out)
		}
		if err := verify(back); err != nil {
			t.Errorf("escape %v: %v", escape, err)
		}
	}
}

// Each tampering is found, at the entry named.
func TestTampering(t *testing.T) {
	type list = []ledger.Entry
	tests := map[string]struct {
		tamper func(list) list
		want   string
	}{
		"time":            {func(l list) list { l[1].Time = l[1].Time.Add(time.Hour); return l }, "entry 2: id"},
		"time below 1 ms": {func(l list) list { l[1].Time = l[1].Time.Add(1); return l }, "entry 2: its content"},
		"stream sequence": {func(l list) list { l[1].StreamSeq++; return l }, "entry 2: its content"},
		"kind":            {func(l list) list { l[1].Kind = ledger.KindConfig; return l }, "entry 2: its content"},
		"model":           {func(l list) list { l[1].Model = "churn"; return l }, "entry 2: its content"},
		"body":            {func(l list) list { l[1].Body = bytes.Replace(l[1].Body, []byte("0.1"), []byte("0.2"), 1); return l }, "entry 2: its content"},
		"kind into model": {func(l list) list { l[1].Kind, l[1].Model = "alertf", "raud"; return l }, "entry 2: its content"},
		"id":              {func(l list) list { l[1].ID = l[0].ID; return l }, "entry 2: id"},
		"prev":            {func(l list) list { l[1].Prev[0]++; return l }, "entry 2: it does not follow entry 1"},
		"hash":            {func(l list) list { l[1].Hash[31]++; return l }, "entry 2: its content"},
		"sequence":        {func(l list) list { l[1].Seq = 7; return l }, "entry 7: expected entry 2"},
		"removed":         {func(l list) list { return append(l[:1], l[2:]...) }, "entry 3: expected entry 2"},
		"first removed":   {func(l list) list { return l[1:] }, "entry 2: expected entry 1"},
		"swapped":         {func(l list) list { l[1], l[2] = l[2], l[1]; return l }, "entry 3: expected entry 2"},
		"repeated":        {func(l list) list { return append(l[:2], l[1:]...) }, "entry 2: expected entry 3"},
		"renumbered": {func(l list) list {
			l = append(l[:1], l[2:]...)
			l[1].Seq = 2
			return l
		}, "entry 2: it does not follow entry 1"},
		"forged from there on": {func(l list) list { // a valid chain of its own, behind another first entry
			var c ledger.Chain
			forged, _ := c.Append(ledger.Draft{Time: at, Kind: ledger.KindConfig})
			next, _ := c.Append(ledger.Draft{Time: at, Kind: ledger.KindConfig})
			_ = forged
			return append(l[:1], next)
		}, "entry 2: it does not follow entry 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := verify(test.tamper(journal(t)))
			if !errors.Is(err, ledger.ErrBroken) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Ids of one journal sort by event time, whatever the order of the entries.
func TestIDsSortByTime(t *testing.T) {
	var c ledger.Chain
	late := appendTo(t, &c, ledger.Draft{Time: at.Add(time.Millisecond), Kind: ledger.KindConfig})
	early := appendTo(t, &c, ledger.Draft{Time: at, Kind: ledger.KindConfig})
	if early.ID >= late.ID {
		t.Errorf("%s is not before %s", early.ID, late.ID)
	}
}

// What cannot be encoded leaves the chain as it was: no entry is half recorded.
func TestAppendRefuses(t *testing.T) {
	var c ledger.Chain
	appendTo(t, &c, ledger.Draft{Time: at, Kind: ledger.KindConfig})
	before := c
	_, err := c.Append(ledger.Draft{Time: at, Kind: ledger.KindAlert, Body: ledger.Alert{Stats: map[string]float64{"psi": math.NaN()}}})
	if err == nil || !strings.Contains(err.Error(), "encode alert entry 2") {
		t.Errorf("got %v", err)
	}
	if c != before {
		t.Errorf("the tip moved to %+v", c)
	}
}

func TestHashText(t *testing.T) {
	good := "sha256:" + strings.Repeat("0a", 32)
	var h ledger.Hash
	if err := h.UnmarshalText([]byte(good)); err != nil || h.String() != good {
		t.Errorf("got %v, %v", h, err)
	}
	for name, text := range map[string]string{
		"empty": "", "no prefix": strings.Repeat("0a", 32), "other prefix": "sha512:" + strings.Repeat("0a", 32),
		"short": good[:70], "long": good + "0", "not hex": "sha256:" + strings.Repeat("0g", 32), "upper case": "sha256:" + strings.Repeat("0A", 32),
	} {
		t.Run(name, func(t *testing.T) {
			kept := h
			if err := h.UnmarshalText([]byte(text)); err == nil {
				t.Error("accepted")
			}
			if h != kept {
				t.Error("changed")
			}
		})
	}
}

func TestDeliveryKey(t *testing.T) {
	var c ledger.Chain
	e := appendTo(t, &c, ledger.Draft{Time: at, Kind: ledger.KindConfig})
	d := ledger.Delivery{Receiver: "slack", Entry: e, Seq: e.Seq, Attempt: 3}
	if d.Key() != e.ID {
		t.Errorf("got %s, want %s", d.Key(), e.ID)
	}
	data, err := json.Marshal(d)
	if err != nil || bytes.Contains(data, []byte(e.ID)) {
		t.Errorf("the entry is stored twice: %s, %v", data, err)
	}
}

// The bodies are public (contract section 3): a field may be added, not renamed.
func TestBodies(t *testing.T) {
	ends := at.Add(time.Hour)
	window := ledger.Window{Start: at, End: ends}
	tests := map[string]struct {
		body any
		want string
	}{
		"alert, firing": {
			ledger.Alert{Type: "alert", Status: "firing", Rule: "R", Model: "fraud", ModelVersion: "42", Variant: "canary", Feature: "amount", Severity: "page", StartsAt: at, Window: window, Stats: map[string]float64{"psi": 0.31}, Reason: "r", Evidence: ledger.Evidence{Expr: "e"}, DedupKey: "01K"},
			`{"type":"alert","status":"firing","rule":"R","model":"fraud","model_version":"42","variant":"canary","feature":"amount","severity":"page","starts_at":"2026-01-01T00:00:00.123Z","ends_at":null,"window":{"start":"2026-01-01T00:00:00.123Z","end":"2026-01-01T01:00:00.123Z"},"stats":{"psi":0.31},"reason":"r","evidence":{"expr":"e"},"dedup_key":"01K"}`,
		},
		"retrain": {
			ledger.Retrain{Type: "retrain", Model: "fraud", ModelVersion: "42", Reason: "r", AlertIDs: []string{"01K"}, Manifest: ledger.Manifest{Data: ledger.ManifestData{Stream: "ML", FromSeq: 1, ToSeq: 99, From: at, To: ends}, Baseline: "b", Labels: ledger.ManifestLabels{Count: 812, Digest: "sha256:00"}, SamplesDigest: "sha256:01", Seed: 1234, ConfigHash: "c", Driftd: "v1"}},
			`{"type":"retrain","model":"fraud","model_version":"42","reason":"r","alert_ids":["01K"],"manifest":{"data":{"stream":"ML","from_seq":1,"to_seq":99,"from":"2026-01-01T00:00:00.123Z","to":"2026-01-01T01:00:00.123Z"},"baseline":"b","labels":{"count":812,"digest":"sha256:00"},"samples_digest":"sha256:01","seed":1234,"config_hash":"c","driftd":"v1"}}`,
		},
		"rollback": {
			ledger.Rollback{Type: "rollback", Model: "fraud", FromVersion: "43", ToVersion: "42", Reason: "r", Evidence: ledger.RollbackEvidence{Test: "t", EValue: 128.4, Alpha: 0.01, NCanary: 4100, NControl: 37000}},
			`{"type":"rollback","model":"fraud","from_version":"43","to_version":"42","reason":"r","evidence":{"test":"t","e_value":128.4,"alpha":0.01,"n_canary":4100,"n_control":37000}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(test.body)
			if err != nil || string(data) != test.want {
				t.Errorf("got  %s, %v\nwant %s", data, err, test.want)
			}
		})
	}
}
