package daemon

// Bounds of the exported histograms, seconds.
var (
	checkpointBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	delayBounds      = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400}
	heededBounds     = []float64{60, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400}
)
