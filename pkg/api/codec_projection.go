package api

import (
	"errors"
	"fmt"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// projectionCode is the JSON of a projection; the axes are in the binary form of
// package stats.
type projectionCode struct {
	Feature string   `json:"feature,omitempty"` // a vector feature, or else
	Inputs  []string `json:"inputs,omitempty"`  // the features that make a vector
	Axes    []byte   `json:"axes"`
}

func (c *baselineCode) projections() (all []drift.Projection, err error) {
	for _, code := range c.Projections {
		p := drift.Projection{Feature: code.Feature, Inputs: code.Inputs}
		var rest []byte
		p.Axes, rest, err = stats.DecodeProjection(code.Axes)
		switch {
		case err != nil:
		case len(rest) > 0:
			err = errors.New("something follows the axes")
		case code.Feature == "" && p.Axes.Dim() != len(code.Inputs), code.Feature != "" && code.Inputs != nil:
			err = fmt.Errorf("%d inputs for %d components", len(code.Inputs), p.Axes.Dim())
		}
		if err != nil {
			return nil, fmt.Errorf("projection %.100q: %w", code.Feature, err)
		}
		all = append(all, p)
	}
	return all, nil
}
