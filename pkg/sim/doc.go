// Package sim makes seeded model traffic: predictions, errors and late outcomes
// in time order, with faults injected at known times. The demo, the tests and the
// benchmarks run on it, so what driftd should find is known.
//
//	Scenario + seed -> Stream -> Next: prediction | outcome (a heap holds those still to come)
//	                     ^  \-> Reference: rows of the primary version before the start
//	                  Rollback (the demo's router)
//
// It publishes nothing and knows no clock: time is the event time it invents. The
// same scenario and seed give the same events; every model, and every feature in
// it, draws from its own generator, so an injection changes nothing but what it
// names. A Stream belongs to one goroutine.
package sim
