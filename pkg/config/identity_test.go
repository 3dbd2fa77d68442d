package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/config"
)

// A receiver's identity changes with each of its settings, with each of its secrets and
// with what is in their files, and with nothing else.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	const one = `routes: {receiver: hook, group_wait: 30s}
receivers: [{name: hook, allow_private: [10.0.0.0/8], webhook: {url: "https://a.example/x?token=1", secret: s3cr3t, next_secret_file: next}}]
`
	identity := func(text, secret string) string {
		t.Helper()
		file := filepath.Join(dir, "driftd.yaml")
		for name, content := range map[string]string{file: text, filepath.Join(dir, "next"): secret} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := config.Load(file, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Identity(c.Receivers[0])
	}
	first := identity(one, "a")
	if strings.Contains(first, "s3cr3t") || len(first) != 64 {
		t.Errorf("identity %q", first)
	}
	if identity(strings.Replace(one, "30s", "40s", 1), "a") != first {
		t.Error("another route is another receiver")
	}
	for _, c := range [][3]string{
		{"token=1", "token=2", "a"},
		{"s3cr3t", "s3cr3u", "a"},
		{"10.0.0.0/8", "10.0.0.0/9", "a"},
		{"url:", `url:`, "b"},
		{"webhook:", `template: {text: hello}, webhook:`, "a"},
		{"webhook:", `proxy: "http://p.example", webhook:`, "a"},
	} {
		if identity(strings.Replace(one, c[0], c[1], 1), c[2]) == first {
			t.Errorf("%s with the secret %s is the same receiver", c[1], c[2])
		}
	}
}
