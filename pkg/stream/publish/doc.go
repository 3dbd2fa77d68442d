// Package publish lets a Go service report what its models do: predictions,
// outcomes and KPIs, each stored in JetStream before Publish returns.
//
//	service --Publish--> subject ml.predictions.<model>.<version> --> stream ML --> driftd
//	                     Nats-Msg-Id prediction:<id>: a repeat counts once
//
// A Client repeats what was not acknowledged under the same id, so that an event
// is neither lost while NATS is away for a moment nor counted twice. It keeps no
// queue: the caller decides how long to wait and what to do after that, and calls
// Publish from a goroutine where a model's answer must not wait for it.
//
// It needs nats.go and nothing of driftd's daemon.
package publish
