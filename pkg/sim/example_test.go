package sim_test

import (
	"fmt"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

// The demo's first hour, counted by model.
func ExampleNew() {
	st, err := sim.New(sim.Demo(sim.DefaultStory), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	predictions := map[string]int{}
	for e := (event.Event{}); predictions["fraud"] < 5000 && st.Next(&e); {
		if e.Kind == event.Prediction {
			predictions[e.Model]++
		}
	}
	fmt.Println(predictions["fraud"] > 3*predictions["churn"], predictions["support-llm"] > 900)
	// Output: true true
}
