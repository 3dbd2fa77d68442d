package dataset_test

import (
	"fmt"
	"os"
	"path/filepath"

	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/event"
)

// Rows of a CSV file become prediction events.
func ExampleParseMap() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "answers.csv")
	if err := os.WriteFile(path, []byte("id,age,answer,p\n68785,46,yes,0.95\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	m, err := dataset.ParseMap("id=id,time=2016-01-05T13:20Z+1m*row,prediction=answer,scores.yes=p,features=age")
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := dataset.Open(path, dataset.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer table.Close()
	if err := m.Bind(table.Columns()); err != nil {
		fmt.Println(err)
		return
	}
	var e event.Event
	for row, err := range table.All() {
		if err == nil {
			err = m.Event(row, row.N, &e)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(event.AppendJSON(nil, &e)))
	}
	// Output: {"id":"68785","time":"2016-01-05T13:20:00Z","features":{"age":46},"prediction":"yes","scores":{"yes":0.95}}
}
