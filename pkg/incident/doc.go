// Package incident groups alerts into what people hear of, and says what is to be
// told to whom.
//
//	alert starts, ends -> Book -> Incident -> View for one receiver, less what is muted
//
// An Incident is one matter: the alerts of one group, from the first that starts
// until the last has ended. A Book holds those that are open. Silences and time
// intervals say what is not to be told now; they change no alert.
//
// It does not send, store or read a clock: the daemon's loop owns the one Book, and
// the store asks for a View at the moment of sending.
package incident
