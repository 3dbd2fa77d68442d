//go:build real

package dataset_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/event"
)

// shared returns a file of the shared data; a missing one fails the test.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("DRIFTD_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(dir, "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("shared data (set DRIFTD_SHARED): %v", err)
	}
	return path
}

// Row counts: the README of the shared data.
func TestRealFilesAreReadWhole(t *testing.T) {
	for _, tc := range []struct {
		file  string
		rows  int64
		types map[string]dataset.Type
	}{
		{"flights_reference.csv.gz", 49_992, flightTypes},
		{"flights_current.csv.gz", 50_008, flightTypes},
		{"employment_reference.parquet", 68_785, employmentTypes},
		{"employment_analysis.parquet", 208_892, employmentTypes},
		{"employment_analysis_target.parquet", 208_892, map[string]dataset.Type{"id": dataset.ID, "employed": dataset.Numeric}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			table, err := dataset.Open(shared(t, tc.file), dataset.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer table.Close()
			for name, want := range tc.types {
				if i := table.Index(name); i < 0 {
					t.Errorf("no column %q", name)
				} else if got := table.Columns()[i].Type; got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			for _, err := range table.All() {
				if err != nil {
					t.Fatal(err)
				}
			}
			if table.Rows() != tc.rows {
				t.Errorf("%d rows, want %d", table.Rows(), tc.rows)
			}
		})
	}
}

var flightTypes = map[string]dataset.Type{
	"": dataset.ID, "CANCELLED": dataset.Numeric, "AIRLINE": dataset.Categorical, "DEPARTURE_DELAY": dataset.Numeric,
	"TAXI_OUT": dataset.Numeric, "AIR_TIME": dataset.Numeric, "DISTANCE": dataset.Numeric, "DATE": dataset.TimeType,
}

var employmentTypes = map[string]dataset.Type{
	"id": dataset.ID, "AGEP": dataset.Numeric, "SCHL": dataset.Categorical, "RELP": dataset.Categorical, "RAC1P": dataset.Categorical,
	"year": dataset.Numeric, "prediction": dataset.Numeric, "predicted_probability": dataset.Numeric,
}

// DEPARTURE_DELAY is missing in 2.06 % and 0.89 % of the rows, airline US is 6.8 %
// of the reference (README of the shared data).
func TestRealMissingAndShares(t *testing.T) {
	missing, us := flightShares(t, "flights_reference.csv.gz")
	if math.Abs(missing-.0206) > 5e-5 || math.Abs(us-.068) > 5e-4 {
		t.Errorf("reference: missing %.4f, US %.4f", missing, us)
	}
	if missing, _ = flightShares(t, "flights_current.csv.gz"); math.Abs(missing-.0089) > 5e-5 {
		t.Errorf("current: missing %.4f", missing)
	}
}

func flightShares(t *testing.T, file string) (missing, us float64) {
	t.Helper()
	table, err := dataset.Open(shared(t, file), dataset.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	delay, airline := table.Index("DEPARTURE_DELAY"), table.Index("AIRLINE")
	for row, err := range table.All() {
		if err != nil {
			t.Fatal(err)
		}
		if row.Cells[delay].Kind == dataset.Null {
			missing++
		}
		if row.Cells[airline].Str == "US" {
			us++
		}
	}
	n := float64(table.Rows())
	return missing / n, us / n
}

// circle.csv has no header and ends every line with a comma; with a header put
// before it all 2,000 rows are there.
func TestRealCircleWithHeader(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "circle.csv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"x1,x2,label\n", "x1,x2,label,\n"} {
		path := filepath.Join(t.TempDir(), "circle.csv")
		if err := os.WriteFile(path, append([]byte(header), raw...), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := dataset.Open(path, dataset.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		for _, err := range table.All() {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := table.Rows(); got != 2000 || len(table.Columns()) != 3 {
			t.Errorf("%d rows, %d columns; want 2000, 3", got, len(table.Columns()))
		}
		for _, c := range table.Columns() {
			if c.Type != dataset.Numeric {
				t.Errorf("%s is %s", c.Name, c.Type)
			}
		}
	}
}

// The mapping of the contract turns the analysis rows into events: 208,892 of
// them, the first at 2016-01-05T13:20Z, a minute apart.
func TestRealEmploymentEvents(t *testing.T) {
	table, err := dataset.Open(shared(t, "employment_analysis.parquet"), dataset.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	m, err := dataset.ParseMap("id=id,time=2016-01-05T13:20Z+1m*row,prediction=prediction,scores.1=predicted_probability,features=AGEP,SCHL,MAR,RELP,DIS,ESP,CIT,MIG,MIL,ANC,NATIVITY,DEAR,DEYE,DREM,SEX,RAC1P")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Bind(table.Columns()); err != nil {
		t.Fatal(err)
	}
	var e event.Event
	var n int64
	for row, err := range table.All() {
		if err == nil {
			err = m.Event(row, row.N, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		if row.N == 0 && (e.ID != "68785" || e.Values[0] != event.Num(46) || e.Values[1] != event.Cat("21") || e.Prediction != event.Num(1)) {
			t.Errorf("first event: %+v", e)
		}
		n++
	}
	last := time.Date(2016, 1, 5, 13, 20, 0, 0, time.UTC).Add(208_891 * time.Minute)
	if n != 208_892 || e.Time != last.UnixNano() || len(e.Values) != 16 {
		t.Errorf("%d events, the last at %s with %d features", n, time.Unix(0, e.Time).UTC(), len(e.Values))
	}
}
