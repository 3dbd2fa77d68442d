// Package wording says messages in the words of who runs driftd: templates of
// text/template over Data.
//
//	text -> Parse (refuses what could run away) -> Template.Say(Data) -> words
//
// What a template may do is bounded before it ever runs: a list of functions, loops
// over lists that are short, at most two inside of one another, no templates that
// call templates, 4 KiB of source. So a message takes at most about 0.1 s and 4 KiB,
// whatever the template. It does not escape: who sends the words does, for
// the receiver. It keeps nothing.
package wording
