// Package fakes holds the far ends of package notify. Most are http.Handlers:
// Slack's incoming webhook and Web API, PagerDuty's events API, Alertmanager v2
// and a generic webhook; one is an SMTP server. They answer as the real ones are
// documented to, check what they are sent as strictly, remember every call and fail
// on request.
//
//	notify sink -> HTTP -> fake -> Calls, Messages, Incidents, Alerts
//	                        ^
//	     FailNext(n, ...) --'
//
// Tests and `driftd demo` use them. They listen nowhere by themselves, keep
// everything in memory and remember at most 10,000 calls each.
package fakes
