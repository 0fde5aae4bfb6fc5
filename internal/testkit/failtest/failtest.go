// Package failtest checks errors in tests: whether they are failures that a packager can act on.
// A test and an error come in; failures of the test go out. Only tests import it; it imports the domain's words.
package failtest

import (
	"errors"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
)

// Want checks that err is a failure of this kind with a hint, and with these words in its text or its hint.
func Want(t testing.TB, err error, kind rpmflow.FailureKind, words ...string) {
	t.Helper()
	var f *rpmflow.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure of kind %s", err, kind)
	}
	if f.Kind != kind || f.Hint == "" {
		t.Errorf("got kind %q, hint %q; want kind %q with a hint", f.Kind, f.Hint, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+"\n"+f.Hint, word) {
			t.Errorf("%q (hint %q) does not say %q", err, f.Hint, word)
		}
	}
}

// WantOther checks that err is an error that a packager can do nothing about.
func WantOther(t testing.TB, err error) {
	t.Helper()
	var f *rpmflow.Failure
	if err == nil || errors.As(err, &f) {
		t.Fatalf("got %v, want an error that is not the packager's", err)
	}
}
