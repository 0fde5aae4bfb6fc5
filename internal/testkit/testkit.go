// Package testkit has what the tests of several packages need: waiting for a state or a signal within a bound, programs
// that run until the test ends, their logs, and files.
//
// In come a test and a condition; out come failures of the test that name what was waited for. Only tests import it,
// and it imports nothing of ours.
package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Patience bounds every wait of a test. It is far longer than anything takes on a machine with nothing else to do.
const Patience = time.Minute

// The time between two looks at a state that nothing announces. It is four times as long as a look took, within these
// bounds: one that starts a program would else take the processor from what the test waits for.
const (
	minPause = 20 * time.Millisecond
	maxPause = 500 * time.Millisecond
)

// Until looks until is returns nil, and fails the test with its last error after Patience.
func Until(t testing.TB, is func() error) {
	t.Helper()
	UntilWithin(t, Patience, is)
}

// UntilWithin is Until with a bound of its own, for what takes longer: containers, a build of real mock.
func UntilWithin(t testing.TB, limit time.Duration, is func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		begun := time.Now()
		err := is()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s still: %v", limit, err)
		}
		time.Sleep(min(max(minPause, 4*time.Since(begun)), maxPause))
	}
}

// Eventually is Until for a condition, which is called what.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	EventuallyWithin(t, Patience, what, is)
}

// EventuallyWithin is UntilWithin for a condition, which is called what.
func EventuallyWithin(t testing.TB, limit time.Duration, what string, is func() bool) {
	t.Helper()
	missing := errors.New("missing: " + what)
	UntilWithin(t, limit, func() error {
		if is() {
			return nil
		}
		return missing
	})
}

// Receive waits for a value of a channel, or for its end, which is called what if it does not come.
func Receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(Patience):
		t.Fatalf("after %s still missing: %s", Patience, what)
	}
	return v
}

// Run runs a program until the test ends, or until stop is called, which ends its context and waits for its end. The
// program must not fail before.
func Run(t testing.TB, what string, program func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- program(ctx) }()
	stop = sync.OnceFunc(func() {
		t.Helper()
		cancel()
		if err := Receive(t, "the end of "+what, done); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Must fails the test if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Value returns a result, or fails the test if there is an error: Value(f())(t).
func Value[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		Must(t, err)
		return v
	}
}

// Write writes a file, makes its directories, and returns its name.
func Write(t testing.TB, file, content string) string {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("write a file of the test: %w", err))
	}
	return file
}
