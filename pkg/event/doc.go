// Package event is the schema of what driftd observes (predictions, outcomes,
// KPIs) and the only way to get one: a Decoder turns the bytes of a message
// into Events, and applies the Policy (drop, hmac, bucket) while it reads, so
// no other package can hold a value which the operator did not allow.
//
//	message bytes + subject ──▶ Decoder ──▶ Batch{Events, Rejects} ──▶ Joiner
//	        (+ Envelope)          │ Policy: count, bucket, hmac, drop    halves
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
// # Coats
//
// DecodeWrapped also reads, over NATS and HTTP alike:
//
//   - CloudEvents 1.0 and 0.3, structured, batched and binary, of the types
//     io.driftd.{prediction,outcome,kpi}.v1 around the forms above. id, time
//     and (of outcomes) source fall back to the CloudEvent's; of several events
//     without an id, each is id#index.
//   - The payload logs of KServe (org.kubeflow.serving.inference.*) and Seldon
//     (io.seldon.serving.inference.*, MLServer included): v1 instances and
//     predictions, v2 inputs and outputs, Seldon's data, jsonData and strData.
//     Each row is the half of a prediction, id#row, for a Joiner. Names are the
//     payload's, else those of Wrapping, else f0, f1 or tensor_0, tensor_1;
//     lists in lists and tensors of three dimensions are one Vector.
//   - Seldon's feedback: outcomes "reward" and "label" of each row.
//   - OTLP logs of BentoML's monitor, as protobuf or JSON; see bento.
//
// They are rewritten to the bare schema and read by the same Decoder: policies,
// limits, duplicate keys and reasons are as above, and a bad row costs no other.
// Refusals then name the row and field instead of a byte. Other types, bodies
// and records are refused with schema and what was seen.
//
// The model is ce-inferenceservicename (MLServer: ce-modelid, without the _1 of
// Seldon Core 2; BentoML: bento_name) unless Wrapping.Model says otherwise. The
// version is what Wrapping.Version says, else the annotation
// driftd.dev/model-version in ce-annotations, else the header
// driftd-model-version in ce-metadata, the body's model_version, the generation
// _1. The variant is what Wrapping.Variant says, else the annotation
// driftd.dev/variant, else what ce-endpoint means. The id is ce-id, or Seldon's
// ce-requestid.
//
// # Lifetime
//
// Strings in an Event alias the message (or memory written once), so they stay
// valid while referred to, keep the whole message alive, and forbid the caller
// to change its bytes: strings.Clone what outlives the batch. Slices in an
// Event belong to its Batch and are valid until Batch.Reset.
package event
