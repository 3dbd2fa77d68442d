// Package stream is driftd's edge to NATS JetStream: it reads the input stream
// in order from a position that driftd itself keeps, publishes signals, dead
// letters and events, and can run a JetStream server inside the process.
//
// It does not decode events and does not decide what a gap means for a window. The
// anchor that the daemon commits to Badger is the truth; nothing is acknowledged, but
// on streams that delete by acknowledgement, and then what is committed (ack.go).
// Reader.Run owns the consumer; the receiver owns a Batch until Release.
//
//	JetStream --pull, 5,000 msgs / 16 MB--> session --handoff--> out chan *Batch
//	             ^ recreated after any doubt    |  messages, or a Notice before them:
//	   Anchor {stream, created, seq, time} -----+  new epoch, gap, filter changed
//	   checked at start, after every break and every few seconds
//
//	daemon --Publisher--> DRIFTD (signals, driftd.dlq.*)    send, sim --EventPublisher--> ML
//	                                                        api, HTTP --Intake--> ML
package stream
