package repo

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// writer writes elements, one a line. The first text that XML cannot hold is its error.
type writer struct {
	bytes.Buffer
	err error
}

// begin opens an element. Attributes are names and values in turn.
func (w *writer) begin(name string, attributes ...string) {
	w.tag(name, attributes)
	w.WriteString(">\n")
}

func (w *writer) end(name string) { w.WriteString("</" + name + ">\n") }

// element writes an element with a text in it.
func (w *writer) element(name, text string, attributes ...string) {
	w.tag(name, attributes)
	if text == "" {
		w.WriteString("/>\n")
		return
	}
	w.WriteByte('>')
	w.text(name, text, false)
	w.end(name)
}

func (w *writer) tag(name string, attributes []string) {
	w.WriteString("<" + name)
	for i := 0; i < len(attributes); i += 2 {
		w.WriteString(" " + attributes[i] + `="`)
		w.text(name+" "+attributes[i], attributes[i+1], true)
		w.WriteByte('"')
	}
}

// text escapes a value of the element or attribute what. A reader of attributes turns white space into blanks, so it is
// escaped there, and every reader turns "\r\n" into "\n".
func (w *writer) text(what, s string, attribute bool) {
	s = utf8Of(s)
	from := 0
	for i := 0; i < len(s); i++ {
		with := ""
		switch c := s[i]; {
		case c == '&':
			with = "&amp;"
		case c == '<':
			with = "&lt;"
		case c == '>':
			with = "&gt;"
		case c == '"' && attribute:
			with = "&quot;"
		case c == '\r', c == '\n' && attribute, c == '\t' && attribute:
			with = fmt.Sprintf("&#%d;", c)
		case c >= ' ', c == '\n', c == '\t':
			continue
		default:
			if w.err == nil {
				w.err = fmt.Errorf("%s has the control character %q: %.100q", what, c, s)
			}
		}
		w.WriteString(s[from:i] + with)
		from = i + 1
	}
	w.WriteString(s[from:])
}

// utf8Of is s if it is UTF-8 that XML can hold. Otherwise it is taken as Latin-1 without what is undefined there, as
// createrepo_c does (cr_latin1_to_utf8).
func utf8Of(s string) string {
	if utf8.ValidString(s) && !strings.ContainsAny(s, "\ufffe\uffff") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x80 || c >= 0xc0 {
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}
