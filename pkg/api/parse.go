package api

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// Times outside of these years are refused: beyond them nanoseconds overflow.
const firstYear, lastYear = 1678, 2261

// parseTime reads RFC 3339, Unix seconds with an optional fraction, "now", or a
// span before now like -24h.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now.UTC(), nil
	}
	if span, ok := strings.CutPrefix(text, "-"); ok {
		if d, err := parseDuration(span); err == nil {
			return now.Add(-d).UTC(), nil
		}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		seconds, ok := strconv.ParseFloat(text, 64)
		if ok != nil || math.Abs(seconds) > 1e10 || seconds != seconds {
			return time.Time{}, errors.New("must be a time like 2026-01-02T15:04:05Z, Unix seconds, or a span before now like -24h")
		}
		whole, part := math.Modf(seconds)
		at = time.Unix(int64(whole), int64(math.Round(part*1e6))*1000)
	}
	if y := at.UTC().Year(); y < firstYear || y > lastYear {
		return time.Time{}, errors.New("is too far from the present")
	}
	return at.UTC(), nil
}

// floorTime returns the last multiple of size since the Unix epoch at or before
// t, which is where windows start. Times too far off give the epoch.
func floorTime(t time.Time, size time.Duration) time.Time {
	if y := t.Year(); y < firstYear || y > lastYear {
		return time.Unix(0, 0).UTC()
	}
	return drift.WindowStart(t, size)
}

var durationUnits = []struct {
	name string
	size time.Duration
}{
	{"ms", time.Millisecond},
	{"s", time.Second},
	{"m", time.Minute},
	{"h", time.Hour},
	{"d", 24 * time.Hour},
	{"w", 7 * 24 * time.Hour},
	{"y", 365 * 24 * time.Hour},
}

// parseDuration reads a duration in Prometheus' form: 90s, 1h30m, 7d.
func parseDuration(text string) (time.Duration, error) {
	bad := errors.New("must be a duration like 5m, 1h or 7d")
	total, rest := time.Duration(0), text
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, bad
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == rest[:letters] {
				unit = u.size
			}
		}
		if unit == 0 || n > int64((math.MaxInt64-total)/unit) {
			return 0, bad
		}
		total += time.Duration(n) * unit
		rest = rest[letters:]
	}
	if text == "" {
		return 0, bad
	}
	return total, nil
}

// formatDuration writes a duration as parseDuration reads it: 1h, 5m, 90s, 1d.
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	if d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	var b strings.Builder
	for i := 3; i >= 0; i-- {
		u := durationUnits[i]
		if n := d / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d %= u.size
		}
	}
	return b.String()
}

func parseUint(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }
