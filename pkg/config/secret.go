package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Hidden is what a Secret prints as.
const Hidden = "<secret>"

// A Secret is a text that no printing, formatting or marshalling shows. Only
// Reveal gives it.
type Secret struct{ text string }

// NewSecret makes a Secret of text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text. Hand it on, never store or print it.
func (s Secret) Reveal() string { return s.text }

// Set reports whether there is a text.
func (s Secret) Set() bool { return s.text != "" }

// String returns "<secret>", or "" when it is not set.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return Hidden
}

// GoString is String: %#v must not show it either.
func (s Secret) GoString() string { return s.String() }

// Format is String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is String: JSON, YAML and text show no secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *Secret) parse(text string) error {
	s.text = text
	return nil
}

// An Address is a URL, or several with commas between. It prints without user,
// password and query, since people put credentials there.
type Address string

// Reveal returns the whole address.
func (a Address) Reveal() string { return string(a) }

// String returns the address with its credentials hidden.
func (a Address) String() string {
	parts := strings.Split(string(a), ",")
	for i, part := range parts {
		parts[i] = hideCredentials(strings.TrimSpace(part))
	}
	return strings.Join(parts, ",")
}

// GoString is String: %#v must not show credentials either.
func (a Address) GoString() string { return a.String() }

// MarshalText is String.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a *Address) parse(text string) error {
	*a = Address(text)
	return nil
}

func hideCredentials(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return userInfo.ReplaceAllString(address, "://"+Hidden+"@")
	}
	if u.User == nil && u.RawQuery == "" {
		return address
	}
	prefix, suffix := "", ""
	if u.User != nil {
		prefix = Hidden + "@"
	}
	if u.RawQuery != "" {
		suffix = "?" + Hidden
	}
	return u.Scheme + "://" + prefix + u.Host + u.EscapedPath() + suffix
}

// A Source gives a secret each time it is needed. One from a file is read anew,
// so that a rotated secret needs no reload. Its error names the file, never the
// content.
type Source func() (string, error)

// ErrNoSecret is what a Source returns when neither the secret nor its file was
// configured.
var ErrNoSecret = errors.New("no secret is configured")

// Source returns the Source of a secret and its *_file twin.
func (c *Config) Source(secret Secret, file string) Source {
	if file == "" {
		return func() (string, error) {
			if !secret.Set() {
				return "", ErrNoSecret
			}
			return secret.Reveal(), nil
		}
	}
	path := c.Path(file)
	return func() (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		text := strings.TrimSpace(string(b))
		if text == "" {
			return "", fmt.Errorf("read secret: %s is empty", path)
		}
		return text, nil
	}
}

// Path returns where a *_file of the configuration lies: a relative one is
// relative to the folder of the configuration file.
func (c *Config) Path(file string) string {
	if file == "" || filepath.IsAbs(file) || c.file == "" {
		return file
	}
	return filepath.Join(filepath.Dir(c.file), file)
}
