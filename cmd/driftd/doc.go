// Command driftd watches machine-learning models in production: it reads their
// events from NATS JetStream, counts them in windows, compares the windows with
// a reference and tells people and programs what moved.
//
// This package is the shell around pkg/: it reads flags and files, calls, and
// prints. It decides nothing, and no other package imports it.
//
//	main -> root (global flags) -> one file a subcommand -> result -> output
//	                                |        \-> pkg/api over HTTP, beside a daemon
//	                                \-> pkg/* in this process, without one
//
// Data goes to stdout, logs and progress to stderr. What a command found is one
// result, printed by output.go in every format; how it ended is one error, made
// an exit code by exit.go.
package main
