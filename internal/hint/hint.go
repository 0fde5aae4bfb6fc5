// Package hint lets an error say what to do about it, apart from what is wrong.
//
// An error and a sentence come in; an error that has both goes out, and programs that show them apart take them apart
// again. It imports nothing of ours, and every package may import it.
package hint

import (
	"errors"
	"strings"
)

// Hinted is an error that says what to do about it. Types of errors that have such a sentence of their own implement
// it.
type Hinted interface {
	error
	Hinted() string // "": it does not say
}

// Add adds to an error what to do about it. The text of the result says both.
func Add(err error, do string) error { return &hinted{err, do} }

type hinted struct {
	err error
	do  string
}

func (h *hinted) Error() string  { return h.err.Error() + ": " + h.do }
func (h *hinted) Unwrap() error  { return h.err }
func (h *hinted) Hinted() string { return h.do }

// Split takes an error apart: what is wrong, and what to do about it, which is empty if the error does not say so.
func Split(err error) (what, do string) {
	var h Hinted
	if errors.As(err, &h) {
		do = h.Hinted()
	}
	what = err.Error()
	if do != "" {
		what = strings.TrimSuffix(what, ": "+do)
	}
	return what, do
}

// Full is an error for people: its text says what is wrong and what to do about it. It is nil if err is.
func Full(err error) error {
	if err == nil {
		return nil
	}
	if _, do := Split(err); !strings.Contains(err.Error(), do) {
		return Add(err, do)
	}
	return err
}
