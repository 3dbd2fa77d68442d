package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A Duration is a length of time in Prometheus form: 15s, 5m, 1h, 7d, 2w, 1h30m.
// A day has 24 hours, a week 7 days and a year 365 days.
type Duration time.Duration

var durationUnits = []struct {
	name   string
	length time.Duration
}{
	{"y", 365 * 24 * time.Hour},
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

// ParseDuration reads a duration in Prometheus form: units descend, none is
// given twice, "0" needs no unit, and nothing is negative.
func ParseDuration(text string) (Duration, error) {
	fault := fmt.Errorf("expected a duration such as 15s, 5m, 1h or 7d, found %q", text)
	if text == "0" {
		return 0, nil
	}
	rest, next, total := text, 0, time.Duration(0)
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		number, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, fault
		}
		rest = rest[digits:]
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "ywdhms"))]
		for next < len(durationUnits) && durationUnits[next].name != name {
			next++
		}
		if next == len(durationUnits) {
			return 0, fault
		}
		length := durationUnits[next].length
		if number > int64((math.MaxInt64-total)/length) {
			return 0, fmt.Errorf("duration %q is too long: 292y at most", text)
		}
		total += length * time.Duration(number)
		rest, next = rest[len(name):], next+1
	}
	if text == "" {
		return 0, fault
	}
	return Duration(total), nil
}

// std is Std of what may be absent.
func (d *Duration) std() *time.Duration {
	if d == nil {
		return nil
	}
	out := d.Std()
	return &out
}

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d as it would be written: in days from two days up, so that a
// day reads 24h and a week 7d.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	rest := time.Duration(d)
	for _, u := range durationUnits[2:] {
		if u.name == "d" && rest < 2*u.length {
			continue
		}
		if n := rest / u.length; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest %= u.length
		}
	}
	return b.String()
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Duration) parse(text string) (err error) {
	*d, err = ParseDuration(text)
	return err
}

// A Size is a number of bytes: 512, 256KiB, 64MiB, 2GiB; KB, MB and GB are
// decimal.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"kB", 1e3},
	{"B", 1},
}

// ParseSize reads a number of bytes with or without a unit.
func ParseSize(text string) (Size, error) {
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if before, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimSpace(before), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("expected a size such as 4096, 256KiB or 64MiB, found %q", text)
	}
	return Size(int64(n) * unit), nil
}

// String returns s in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits[:3] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *Size) parse(text string) (err error) {
	*s, err = ParseSize(text)
	return err
}

// A Hold says how long a condition must hold: for consecutive closed windows
// (2), for so many of the last ones (3 of 5), or for a length of event time (10m).
type Hold struct {
	Windows  int
	Of       int // 0: consecutive
	Duration Duration
}

// String returns h as it would be written.
func (h Hold) String() string {
	switch {
	case h.Duration > 0:
		return h.Duration.String()
	case h.Of > 0:
		return fmt.Sprintf("%d of %d", h.Windows, h.Of)
	}
	return strconv.Itoa(h.Windows)
}

// MarshalText is String.
func (h Hold) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

func (h *Hold) parse(text string) error {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 0 || n > 10_000 {
			return fmt.Errorf("expected 0 to 10000 windows, found %d", n)
		}
		*h = Hold{Windows: n}
		return nil
	}
	var m, n int
	if got, err := fmt.Sscanf(text, "%d of %d", &m, &n); got == 2 && err == nil && text == fmt.Sprintf("%d of %d", m, n) {
		*h = Hold{Windows: m, Of: n}
		return nil
	}
	d, err := ParseDuration(text)
	if err != nil {
		return fmt.Errorf("expected a number of windows such as 2, some of the last such as 3 of 5, or a duration such as 10m, found %q", text)
	}
	*h = Hold{Duration: d}
	return nil
}

// A Segmentation is one way to cut a model's traffic: by one segment name, or by
// several together. It is written as a name or as a list of names.
type Segmentation []string

func (s *Segmentation) decode(d *decoder, path string, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		if text, ok := d.text(path, n); ok {
			*s = Segmentation{text}
		}
		return
	}
	d.list(path, n, (*[]string)(s))
}

func (s Segmentation) encode() any {
	if len(s) == 1 {
		return s[0]
	}
	return []string(s)
}

// A PrivacyRule says what may be kept of a field. It is written as an action, or
// as {action: bucket, width: 10}.
type PrivacyRule struct {
	Action Action  `json:"action" config:"required" jsonschema:"count: count its values; drop: forget it; hmac: count keyed hashes of its values; bucket: count numbers rounded down to a multiple of width"`
	Width  float64 `json:"width,omitempty" jsonschema:"the bucket's width, greater than 0"`
}

func (r *PrivacyRule) decode(d *decoder, path string, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		d.value(path, n, &r.Action)
		return
	}
	d.mapping(path, n, r)
}

func (r PrivacyRule) encode() any {
	if r.Width == 0 {
		return string(r.Action)
	}
	return nil
}

// The words of the configuration. Each type lists what may be written.
type (
	// An Action of the privacy policy.
	Action string
	// A FeatureType overrides what the JSON type of a feature's values says.
	FeatureType string
	// A Role says what somebody may ask of the API.
	Role string
	// A Variant is the role of a version.
	Variant string
	// A Severity says how loud an alert is.
	Severity string
	// A Notify says who hears of an alert.
	Notify string
	// A NoData says what windows without events do to a rule.
	NoData string
	// A Trigger is what a rule sets off beside telling people.
	Trigger string
	// A Reference is what a rule compares a window with.
	Reference string
	// A FeatureSeries says which features have series on /metrics.
	FeatureSeries string
	// A DLQBody says how much of a refused message is dead-lettered.
	DLQBody string
)

func (Action) words() []string        { return []string{"count", "drop", "hmac", "bucket"} }
func (FeatureType) words() []string   { return []string{"auto", "numeric", "categorical"} }
func (Role) words() []string          { return []string{"ingest", "read", "label", "operate", "admin"} }
func (Variant) words() []string       { return []string{"primary", "canary", "shadow"} }
func (Severity) words() []string      { return []string{"page", "ticket", "info"} }
func (Notify) words() []string        { return []string{"receivers", "shadow"} }
func (NoData) words() []string        { return []string{"keep", "resolve", "alert", "ok"} }
func (Trigger) words() []string       { return []string{"retrain", "rollback"} }
func (DLQBody) words() []string       { return []string{"full", "hash", "none"} }
func (FeatureSeries) words() []string { return []string{"all", "top", "none"} }

func (Reference) words() []string {
	return []string{"baseline", "previous_window", "same_hour_last_week"}
}
