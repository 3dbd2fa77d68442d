//go:build real

package dataset_test

import (
	"testing"

	"driftd.dev/driftd/pkg/dataset"
)

func BenchmarkOpenAndRead(b *testing.B) {
	for _, file := range []string{"flights_reference.csv.gz", "employment_analysis.parquet"} {
		b.Run(file, func(b *testing.B) {
			path := shared(b, file)
			for b.Loop() {
				table, err := dataset.Open(path, dataset.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				for range table.All() {
				}
				table.Close()
			}
		})
	}
}
