package stats_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// The goal of ingest.md G4: at most 15 ns a value with 64 models of 20
// features, 255 edges and columns of 256 values; no allocation.
func BenchmarkAddColumn64Models(b *testing.B) {
	const models, features, column = 64, 20, 256
	random := rand.New(rand.NewPCG(1, 2))
	edges := make([]*stats.Edges, models*features)
	counts := make([][]uint32, len(edges))
	for i := range edges {
		family := families[i%len(families)]
		edges[i] = stats.BuildEdges(sortedDraw(family, 5000, random), 255)
		counts[i] = make([]uint32, edges[i].Bins())
	}
	columns := make([][]float64, 64)
	for i := range columns {
		columns[i] = draw(families[i%len(families)], column, random)
	}
	b.ReportAllocs()
	b.ResetTimer()
	i := 0
	for b.Loop() {
		// a column of the same family, another one each round
		edges[i%len(edges)].AddColumn(counts[i%len(edges)], columns[(i%len(families)+i/len(edges)*len(families))%len(columns)])
		i++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/column, "ns/value")
}

func sortedDraw(f family, n int, random *rand.Rand) []float64 {
	xs := draw(f, n, random)
	slices.Sort(xs)
	return xs
}
