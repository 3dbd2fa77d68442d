// Package config turns the operator's file into a checked Config, and a Config
// into the specs of the packages that run it.
//
//	driftd.yaml --yaml.Node--> expand ${VAR} --> Config over Default() --> Validate
//	                 |                                 |
//	   every fault with file:line:column               +-> Effective, Hash, Schema
//	                                                   +-> event.PolicySpec, alert.Spec, ...
//
// A Config is what the operator wrote; what the program runs are the specs. All
// faults of a file are reported at once. Secrets cannot be printed, and those
// kept in a file are read anew at each use.
//
// It opens no connection and starts nothing, and only cmd and daemon know it. A
// Config is not changed after it is loaded: a reload makes a new one.
package config
