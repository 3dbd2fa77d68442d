// Package event is the schema of what driftd observes (predictions, outcomes,
// KPIs) and the only way to get one: a Decoder turns the bytes of a message
// into Events, and applies the Policy (drop, hmac, bucket) while it reads, so
// no other package can hold a value which the operator did not allow.
//
//	message bytes + subject ──▶ Decoder ──▶ Batch{Events, Rejects}
//	                              │ Policy: count, bucket, hmac, drop
//	                              └ shapes: key order of each (model, version)
//
// It does not count, deduplicate, look at clocks or know which models are
// configured: it is a function of the bytes, the subject and its options. A
// Decoder owns its caches and is used by one goroutine; a Batch belongs to
// whoever calls Decode; a Policy is immutable and shared.
//
// # Message forms
//
// One JSON object; a JSON array of such objects; NDJSON (values separated by
// line breaks, blank lines allowed); or an object with rows, in each of these
// places. A row is an object of the same event fields (bare feature maps are
// refused, because a feature may be called "time"); it inherits the fields
// beside rows and may override them, as a whole: features are not merged. A
// row is identified by id#index, or by its own id where it has one. A faulty
// line, element or row is refused alone as long as the grammar around it
// holds; a message without one good event is refused as a whole.
//
// # Behaviour at the edges
//
//   - NaN, Infinity, None, comments, trailing commas: decode, with the cure.
//   - 1e309: kept as ±Inf, to be counted as non-finite. -0: becomes 0.
//   - Duplicate keys among event fields, features, scores and segments:
//     decode (parsers disagree on which one counts). Not looked for inside
//     unknown fields, dropped fields and values which are objects.
//   - Invalid UTF-8: decode. A lone \ud800 becomes U+FFFD, as in encoding/json.
//   - A byte order mark before the message is skipped.
//   - Empty message, text after the value, nesting deeper than Limits.Depth:
//     decode. An event above Limits.EventBytes: too_large. Too many features,
//     rows or lines, or an identifier above Limits.StringBytes: limit.
//   - Longer category texts become Invalid values; error and explanation are
//     cut at Limits.StringBytes.
//   - Features: number = Number, string and bool = Category, array of numbers
//     = Vector, null = Null, anything else = Invalid. Policy types override:
//     17 and 17.0 are both the category 17; a string in a numeric feature is
//     Invalid, never a number.
//   - null means absent, everywhere. Unknown fields are counted and ignored.
//   - id, prediction_id, entity_id, trace_id may be integers: 17 is "17".
//     model_version may be any number, taken as written: 1.10 is "1.10".
//   - time: RFC 3339 with an offset or Z (a blank may replace the T), or a
//     number: below 1e11 seconds, below 1e14 milliseconds, below 1e17
//     microseconds, else nanoseconds. Outside 1678..2262: schema. Zero, a
//     device without a clock, counts as absent. Digits beyond 1 ns are cut.
//   - Required: prediction: id, model, and features or prediction. Outcome:
//     prediction_id or entity_id, name, and label or value. KPI: name, value.
//   - The subject's model (or KPI name) must agree with the payload's, as a
//     subject token: otherwise subject_mismatch.
//
// # Lifetime
//
// Strings in an Event alias the message (or memory written once), so they stay
// valid while referred to, keep the whole message alive, and forbid the caller
// to change its bytes: strings.Clone what outlives the batch. Slices in an
// Event belong to its Batch and are valid until Batch.Reset.
package event
