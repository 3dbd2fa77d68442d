package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"

	"driftd.dev/driftd/pkg/config"
)

// JUnit's XML, as CI systems read it: https://github.com/testmoapp/junitxml.
type (
	junitReport struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Line    int           `xml:"line,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Error   *junitMessage `xml:"error"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a report as JUnit XML: a suite a file, a case a test. A file
// with faults has one case, which is an error.
func writeJUnit(file string, r testReport) error {
	out := junitReport{}
	for _, f := range r.Files {
		s := junitSuiteOf(f)
		out.Tests += s.Tests
		out.Failures += s.Failures
		out.Errors += s.Errors
		out.Suites = append(out.Suites, s)
	}
	text, err := xml.MarshalIndent(out, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append([]byte(xml.Header), append(text, '\n')...), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

func junitSuiteOf(f testedFile) junitSuite {
	out := junitSuite{Name: f.File, Tests: len(f.Tests)}
	if len(f.Errors) > 0 {
		out.Tests, out.Errors = 1, 1
		out.Cases = []junitCase{{
			Name: "read", Class: f.File, Line: f.Errors[0].Line, Time: "0",
			Error: &junitMessage{Message: f.Errors[0].Error(), Text: config.Faults(f.Errors).Error()},
		}}
	}
	seconds := 0.0
	for _, t := range f.Tests {
		c := junitCase{Name: t.Name, Class: f.File, Line: t.Line, Time: fmt.Sprintf("%.3f", t.Took)}
		seconds += t.Took
		switch {
		case t.Error != "":
			c.Error = &junitMessage{Message: t.Error}
			out.Errors++
		case !t.OK:
			c.Failure = &junitMessage{Message: t.first(), Text: strings.Join(t.lines(f.File), "\n")}
			out.Failures++
		}
		out.Cases = append(out.Cases, c)
	}
	out.Time = fmt.Sprintf("%.3f", seconds)
	return out
}

// first names the first check that does not hold.
func (t *testedTest) first() string {
	for _, c := range t.Checks {
		if !c.OK {
			return c.What
		}
	}
	return t.Error
}
