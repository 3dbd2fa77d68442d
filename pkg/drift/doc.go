// Package drift turns events into windows, and windows into reports of how far
// they moved from a reference. It is a pure state machine: time enters with the
// events, so replaying the same messages gives the same windows.
//
//	event -> Engine.Add -> open pane --watermark--> closed pane (1m)
//	                                                  |-> hourly rollup
//	                                                  |-> windows of each size
//	Builder -> Baseline;  Part.Count(rows) -> the window of a file
//	Compare(reference, window) -> Report (no verdict is an alarm: see alert)
//
// A pane is closed by the message that moves its model's watermark past its end;
// what comes later is counted as late, never merged. An engine restored at any
// message tells what one tells that never stopped, to the last bit. Every name
// that comes from an event is bounded by Limits; what exceeds them is counted.
//
// It does not store, log or read a clock. One goroutine owns an Engine (the
// daemon's loop); Windows, Baselines and Reports are immutable once handed out.
package drift
