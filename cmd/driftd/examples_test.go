package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	inlineCall = regexp.MustCompile("`(driftd [^`]+)`")
	shellWord  = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)
	quote      = strings.NewReplacer("'", "", `"`, "")
)

// calls returns the words behind driftd of each call in a text of the shell, with
// lines that end in \ put together, and what is behind |, >, & and # left out.
func calls(text string) (out [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		words := shellWord.FindAllString(line, -1)
		for i, word := range words {
			first := i == 0 || words[i-1] == "|" || words[i-1] == "&&"
			if word != "./cmd/driftd" && (!first || strings.TrimPrefix(word, "./") != "driftd") { // go run ./cmd/driftd
				continue
			}
			var args []string
			for _, w := range words[i+1:] {
				if strings.ContainsAny(w[:1], "|>&#;") {
					break
				}
				args = append(args, quote.Replace(strings.TrimSuffix(w, ";")))
			}
			out = append(out, args)
		}
	}
	return out
}

// accepts tells whether driftd takes such arguments, short of doing what they say.
func accepts(args []string) error {
	cmd, rest, err := newRootCmd(&env{lookup: os.LookupEnv}).Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if left := cmd.Flags().Args(); cmd.HasSubCommands() && len(left) > 0 {
		return fmt.Errorf("unknown command %q for %q", left[0], cmd.CommandPath())
	}
	if cmd.HasSubCommands() {
		return nil
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return cmd.ValidateRequiredFlags()
}

// TestExamplesOfHelpAreAccepted: each command says how it is called, and can be
// called so.
func TestExamplesOfHelpAreAccepted(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		found := calls(cmd.Example)
		if len(found) == 0 && !cmd.HasSubCommands() && !cmd.Hidden {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for _, args := range found {
			if err := accepts(args); err != nil {
				t.Errorf("%s: driftd %s: %v", cmd.CommandPath(), strings.Join(args, " "), err)
			}
		}
	}
	visit(newRootCmd(&env{lookup: os.LookupEnv}))
}

// TestCallsInThePagesAreAccepted: what a page tells people to type can be typed. A
// call between backquotes may leave out what its sentence does not need.
func TestCallsInThePagesAreAccepted(t *testing.T) {
	found := 0
	for _, pattern := range []string{"../../README.md", "../../docs/*.md", "../../docs/migrate/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d pages, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			page := filepath.Base(file)
			for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
				for _, args := range calls(block[1]) {
					found++
					if err := accepts(args); err != nil {
						t.Errorf("%s: driftd %s: %v", page, strings.Join(args, " "), err)
					}
				}
			}
			for _, m := range inlineCall.FindAllStringSubmatch(string(text), -1) {
				args := quote.Replace(m[1])
				found++
				if err := mentions(strings.Fields(args)[1:]); err != nil {
					t.Errorf("%s: %s: %v", page, m[1], err)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d calls found in the pages", found)
	}
}

// mentions tells whether the command and each of its flags exist.
func mentions(args []string) error {
	cmd, rest, err := newRootCmd(&env{lookup: os.LookupEnv}).Find(args)
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !strings.Contains(rest[0], "|") {
		return fmt.Errorf("unknown command %q for %q", rest[0], cmd.CommandPath())
	}
	for _, word := range rest {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		long := strings.HasPrefix(word, "--")
		if short := strings.HasPrefix(word, "-") && !long && len(name) == 1; !long && !short {
			continue
		}
		cmd.InheritedFlags() // merges them into those that are looked up
		if long && cmd.Flag(name) == nil || !long && cmd.Flags().ShorthandLookup(name) == nil {
			return fmt.Errorf("unknown flag %s", word)
		}
	}
	return nil
}
