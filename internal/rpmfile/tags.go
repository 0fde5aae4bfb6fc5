package rpmfile

import (
	"errors"
	"fmt"
	"io"

	rpm "github.com/sassoftware/go-rpmutils"
)

// Tags are the values in a package's header, by number (rpmtag.h). Those of the signature header are found below 1000,
// or at 16384 more than their number if that is in use in the header, too.
type Tags struct {
	header *rpm.RpmHeader
	err    error
}

// ReadTags hands the header at the beginning of a stream to read, and reads no more of it than the headers. It is an
// ErrNotRPM if there is none, or if read finds it damaged.
func ReadTags(r io.Reader, read func(*Tags) error) error {
	return headerOf(r, func(h *rpm.RpmHeader) error { return read(&Tags{header: h}) })
}

// Err is the first tag whose value was not of the type asked for.
func (t *Tags) Err() error { return t.err }

// NEVRA is which package it is.
func (t *Tags) NEVRA() (NEVRA, error) { return packageOf(t.header) }

// Range is where in the file the header proper begins and ends.
func (t *Tags) Range() (start, end int) {
	at := t.header.GetRange()
	return at.Start, at.End
}

func value[T any](t *Tags, tag int, get func(int) (T, error)) (none T) {
	v, err := get(tag)
	if missing := (rpm.NoSuchTagError{}); errors.As(err, &missing) {
		return none
	}
	if err != nil {
		if t.err == nil {
			t.err = fmt.Errorf("tag %d: %w", tag, err)
		}
		return none
	}
	return v
}

// Texts is nil if there is no such tag.
func (t *Tags) Texts(tag int) []string { return value(t, tag, t.header.GetStrings) }

// Text is the first text, which is that of the locale C, or nothing.
func (t *Tags) Text(tag int) string {
	if all := t.Texts(tag); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Numbers is nil if there is no such tag.
func (t *Tags) Numbers(tag int) []uint64 { return value(t, tag, t.header.GetUint64s) }

// Number is the first number of the first of the tags that is there, or 0.
func (t *Tags) Number(tags ...int) uint64 {
	for _, tag := range tags {
		if all := t.Numbers(tag); len(all) > 0 {
			return all[0]
		}
	}
	return 0
}
