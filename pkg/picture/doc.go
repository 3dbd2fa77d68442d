// Package picture draws what an alert saw: one signal in its reference and now, as
// a PNG for mail, chat and pages.
//
//	ledger.Histogram -> PNG -> bytes
//
// A picture is a function of the ledger entry alone: the same bytes at every drawing
// by one version of Go, at most 720 x 320 pixels and 20 kB. It uses nothing but the standard library
// and a font of its own, which has the characters of ASCII; others are shown as a
// box. It does not choose what is drawn, and keeps nothing.
package picture
