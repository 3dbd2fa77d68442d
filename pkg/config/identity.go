package config

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Identity returns a digest of a receiver's settings and of the secrets in its files:
// another one when any of them is another. A file that cannot be read counts as its error.
func (c *Config) Identity(r Receiver) string {
	h := sha256.New()
	c.identify(h, "", reflect.ValueOf(r))
	return hex.EncodeToString(h.Sum(nil))
}

// identify writes a setting in full, of a *_file what is in it too.
func (c *Config) identify(w io.Writer, name string, v reflect.Value) {
	switch t := v.Interface().(type) {
	case Secret:
		_, _ = fmt.Fprintf(w, "%q=%q", name, t.Reveal()) // a hash never fails
		return
	case Address:
		_, _ = fmt.Fprintf(w, "%q=%q", name, t.Reveal())
		return
	case encoding.TextMarshaler:
		_, _ = fmt.Fprintf(w, "%q=%q", name, t)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.identify(w, name, v.Elem())
		}
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			c.identify(w, name+"."+f.name, v.Field(f.index))
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.identify(w, fmt.Sprintf("%s[%d]", name, i), v.Index(i))
		}
	case reflect.String:
		_, _ = fmt.Fprintf(w, "%q=%q", name, v.String())
		if strings.HasSuffix(name, "_file") && v.String() != "" {
			text, err := c.Source(Secret{}, v.String())()
			_, _ = fmt.Fprintf(w, "%q%q", text, fmt.Sprint(err))
		}
	default:
		_, _ = fmt.Fprintf(w, "%q=%v", name, v.Interface())
	}
}
