package rpmflow

import (
	"errors"
	"strings"
)

// Advise adds to an error what to do about it. The text says both; programs that show them apart take them apart with Advice.
func Advise(err error, do string) error { return &advised{err, do} }

type advised struct {
	err error
	do  string
}

func (a *advised) Error() string  { return a.err.Error() + ": " + a.do }
func (a *advised) Unwrap() error  { return a.err }
func (a *advised) Advice() string { return a.do }

// Advice takes an error apart: what is wrong, and what to do about it, which is empty where the error does not say so by itself.
func Advice(err error) (what, do string) {
	var a interface{ Advice() string }
	if errors.As(err, &a) {
		do = a.Advice()
	}
	what = err.Error()
	if do != "" {
		what = strings.TrimSuffix(what, ": "+do)
	}
	return what, do
}
