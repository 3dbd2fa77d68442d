// Package notify tells receivers (Slack, PagerDuty, webhooks, Alertmanager,
// mail, NATS) what the ledger recorded, at least once and in order, and calls dead
// man's switches.
//
//	ledger -> Outbox.Due -> Dispatcher (a worker per receiver) -> Sink.Send
//	               ^                                                 |
//	               '------------- Outbox.Settle <- Outcome <---------'
//
// The Dispatcher is level-triggered: it reads what is owed and never trusts an
// event, so a lost wake-up costs a poll interval and a restart costs nothing.
// The only duplicate window is a crash between a receiver's answer and Settle;
// dedup keys (PagerDuty), Idempotency-Key (webhook), label sets (Alertmanager),
// Message-ID (mail) and Nats-Msg-Id (NATS) close it, Slack cannot.
//
// What a receiver answered and the next message of the same Order needs, such as
// where Slack's message stands, is a receipt: the Outbox keeps it in the same
// transaction in which the delivery counts as told.
//
// It decides nothing about drift, does not choose receivers, does not store:
// the daemon routes, owns the store and implements Outbox. Subpackage fakes
// holds the far ends for tests and the demo.
package notify
