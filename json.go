package rpmflow

import (
	"bytes"
	"encoding/json"
)

// EncodeJSON encodes a value for programs: without json.Marshal's escapes for web pages (\u003c for <), which none of ours is read by.
// Indent is what a level is indented by; empty: all is on one line.
func EncodeJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
