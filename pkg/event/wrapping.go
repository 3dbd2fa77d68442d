package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Wrapping is what the operator says about payloads which do not name
// everything. The zero Wrapping knows nothing and serves most fleets. It is not
// changed after SetWrapping.
//
// Model, Version and Variant are templates of text and {attributes} of the
// CloudEvent, in any case: its own, such as {namespace}; {model}, which is what
// the name would be without a template; {annotations.NAME} and {metadata.NAME},
// which KServe adds by metadataAnnotations and metadataHeaders.
type Wrapping struct {
	// Model is the model's name, such as "{namespace}/{inferenceservicename}" or,
	// where several nodes of a Seldon graph are logged,
	// "{inferenceservicename}.{modelid}". Of BentoML the attributes are bento_name
	// and monitor_name. "" = the defaults of doc.go; an event that lacks an
	// attribute of it is refused, since it would count for another model.
	Model string
	// Version is the model's version, such as "{annotations.app/version}". "" and
	// where an attribute is missing = the defaults of doc.go.
	Version string
	// Variant is what Variants or the names of variants are looked up by. "" and
	// where an attribute is missing = the defaults of doc.go.
	Variant string
	// Models holds the names which lists lack; the first Glob that fits counts.
	Models []WrappedModel
	// Variants by the text of Variant, or by endpoint, beside default, primary,
	// canary and shadow.
	Variants map[string]Variant
}

// WrappedModel names the columns of models whose payloads are lists.
type WrappedModel struct {
	Glob     string
	Features []string // of a row, in order; must be as many as it has values
	Classes  []string // of a row of probabilities: the likeliest becomes the prediction
}

// ValidateTemplate reports what is wrong with a template of Wrapping.
func ValidateTemplate(template string) error {
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return fmt.Errorf("%q has a } without its {", template)
		}
		if !found {
			return nil
		}
		name, after, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.ContainsAny(name, "{ \t\"") {
			return fmt.Errorf("%q needs the name of an attribute between { and }, such as {namespace} or {annotations.app/version}", template)
		}
		rest = after
	}
	return nil
}

// Validate reports every fault of w at once.
func (w WrappedModel) Validate() error {
	var faults []error
	for _, l := range []struct {
		what  string
		names []string
	}{{"features", w.Features}, {"classes", w.Classes}} {
		for i, name := range l.names {
			switch {
			case name == "":
				faults = append(faults, fmt.Errorf("%s: name %d is empty", l.what, i+1))
			case slices.Contains(l.names[:i], name):
				faults = append(faults, fmt.Errorf("%s: %q is there twice", l.what, name))
			}
		}
	}
	return errors.Join(faults...)
}

// SetWrapping changes how coats are read.
func (d *Decoder) SetWrapping(w Wrapping) { d.wrapping = w }

// expand fills a template. missing is the first attribute that has no value, ""
// for none.
func expand(template string, look func(name string) string) (text, missing string) {
	var b strings.Builder
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		b.WriteString(text)
		if !found {
			break
		}
		name, after, _ := strings.Cut(after, "}")
		value := look(strings.ToLower(name))
		if value == "" {
			return "", name
		}
		b.WriteString(value)
		rest = after
	}
	return b.String(), ""
}

// expandModel fills the template of the model's name.
func (d *Decoder) expandModel(look func(name string) string, model string) (string, bool) {
	text, missing := expand(d.wrapping.Model, func(name string) string {
		if name == "model" {
			return model
		}
		return look(name)
	})
	if missing != "" {
		d.fail(Schema, 0, "attribute %q is missing; the model's name %q needs it", shorten(missing), d.wrapping.Model)
		return "", false
	}
	return text, true
}

// expandOr fills another template, or returns what holds without it.
func expandOr(template string, look func(name string) string, or string) string {
	if template == "" {
		return or
	}
	if text, missing := expand(template, look); missing == "" {
		return text
	}
	return or
}
