package stats_test

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"driftd.dev/driftd/pkg/stats"
)

// A baseline freezes the edges; live values are counted between them and
// compared.
func Example() {
	random := rand.New(rand.NewPCG(1, 1))
	baseline, live := make([]float64, 20_000), make([]float64, 5000)
	for i := range baseline {
		baseline[i] = random.NormFloat64()
	}
	for i := range live {
		live[i] = random.NormFloat64() + 0.25
	}

	slices.Sort(baseline)
	edges, deciles := stats.BaselineEdges(baseline, 256)
	ref, cur := stats.BuildNumeric(baseline, edges), stats.NewNumeric(edges)
	cur.AddColumn(live)

	shift := stats.CompareNumeric(ref, cur, deciles, stats.NewTieTable(ref, 1))
	judged := stats.DefaultGate().Judge([]stats.Shift{shift})[0]
	fmt.Printf("psi %.3f (floor %.4f), ks %.3f..%.3f\n", shift.PSI, shift.NoiseFloor, shift.KSLo, shift.KSHi)
	fmt.Println(judged.Verdict)
	// Output:
	// psi 0.055 (floor 0.0023), ks 0.106..0.109
	// material
}

func ExampleBuildEdges() {
	// zero fills a bin alone: it becomes the point bin (-5e-324, 0]
	edges := stats.BuildEdges([]float64{0, 0, 0, 0, 1, 2, 3, 4}, 4)
	fmt.Println(edges.Values())
	// Output: [-5e-324 0 2 4]
}

func ExampleNumeric_Merge() {
	edges := stats.BuildEdges([]float64{1, 2, 3, 4}, 2)
	morning, evening := stats.NewNumeric(edges), stats.NewNumeric(edges)
	morning.AddColumn([]float64{1, 2})
	evening.AddColumn([]float64{3, 9})
	if err := morning.Merge(evening); err != nil {
		fmt.Println(err)
	}
	fmt.Println(morning.Counts, morning.N, morning.Mean)
	// Output: [0 2 1 1] 4 3.75
}

func ExampleBuildDictionary() {
	dict, base := stats.BuildDictionary(map[string]uint64{"DE": 500, "FR": 300, "LI": 1}, 2)
	live := stats.NewCategorical(dict)
	for _, country := range []string{"DE", "DE", "FR", "LI", "XX"} {
		live.Add(country)
	}
	fmt.Println(dict.Categories, base.Other, live.Counts, live.Other, live.Unseen, live.New.Top())
	// Output: [DE FR] 1 [2 1] 1 1 [{XX 1 0}]
}

func ExampleNewPSI() {
	psi := stats.NewPSI([]uint64{10, 20, 30, 40}, []uint64{25, 25, 25, 25})
	fmt.Printf("%.4f, of which %.2f is noise; p %.4f\n", psi.Value, psi.Floor, psi.P)
	// Output: 0.2180, of which 0.06 is noise; p 0.0123
}

func ExampleNewRateShift() {
	// missing: 444 of 50,008 now, 1,030 of 49,992 before
	r := stats.NewRateShift(444, 50_008, 1030, 49_992)
	fmt.Printf("%.2f %% instead of %.2f %%, fewer with p < 1e-50: %t\n", 100*r.Share, 100*r.Expected, r.PLess < 1e-50)
	// Output: 0.89 % instead of 2.06 %, fewer with p < 1e-50: true
}

func ExampleMinimumDetectableEffect() {
	fmt.Printf("%.2f sd\n", stats.MinimumDetectableEffect(1000, 100_000, 0.001))
	// Output: 0.16 sd
}
