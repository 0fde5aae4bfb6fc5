// Package retry repeats what fails for reasons that pass: a server that restarts, a network that is away.
//
// A function comes in and is called until it succeeds, fails for good, or a bound or the context ends it; its last
// error goes out. Pauses grow and are random, so that programs do not come back in step after an outage. It imports
// nothing of ours, and every package may import it.
package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Policy says how long to wait between tries, and when to give up. The zero value waits for one of our own servers
// without end.
type Policy struct {
	First time.Duration // pause after the first failure, doubled after each further one; 0: 250 ms
	Most  time.Duration // longest pause; 0: 5 s, or First if that is more
	Tries int           // 0: no bound
	Limit time.Duration // for all tries together: no pause begins that would go beyond it; 0: no bound
	// Notify is called with each failure that is followed by another try, and with the pause.
	Notify func(err error, pause time.Duration)
}

// Do calls once until it succeeds. Permanent ends the tries. If ctx ends them, the error wraps both its cause and the
// last failure.
func (p Policy) Do(ctx context.Context, once func() error) error {
	pauses := p.pauses()
	options := []backoff.RetryOption{backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(p.Limit)}
	if p.Notify != nil {
		options = append(options, backoff.WithNotify(p.Notify))
	}
	var last error
	tries, final := 0, false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = once()
		tries++
		var progress *progressError
		var permanent *backoff.PermanentError
		switch {
		case errors.As(last, &progress):
			tries = 0
			pauses.Reset()
		case errors.As(last, &permanent), p.Tries > 0 && tries >= p.Tries:
			final = true
			return struct{}{}, backoff.Permanent(last)
		}
		return struct{}{}, last
	}, options...)
	if permanent, ok := err.(*backoff.PermanentError); ok { //nolint:errorlint // what wraps one keeps its text
		return permanent.Unwrap()
	}
	if err != nil && !final && ctx.Err() != nil {
		return fmt.Errorf("%w (last: %w)", context.Cause(ctx), last)
	}
	return err
}

// Pause is how long to wait after so many failures in a row, for those who do not wait themselves.
func (p Policy) Pause(failures int) time.Duration {
	pauses := p.pauses()
	pause := time.Duration(0)
	for range failures {
		pause = pauses.NextBackOff()
	}
	return pause
}

func (p Policy) pauses() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval: p.First, MaxInterval: p.Most, Multiplier: 2,
		RandomizationFactor: backoff.DefaultRandomizationFactor,
	}
	if b.InitialInterval <= 0 {
		b.InitialInterval = 250 * time.Millisecond
	}
	if b.MaxInterval <= 0 {
		b.MaxInterval = max(5*time.Second, b.InitialInterval)
	}
	return b
}

// Permanent marks an error that another try would not change. Do returns the error itself.
func Permanent(err error) error { return backoff.Permanent(err) }

// After marks an error whose source has said how long to wait, such as a server with Retry-After.
func After(err error, pause time.Duration) error {
	return &afterError{err, &backoff.RetryAfterError{Duration: pause}}
}

type afterError struct {
	error
	after *backoff.RetryAfterError
}

func (e *afterError) Unwrap() []error { return []error{e.error, e.after} }

// Progress marks an error before which something was achieved, such as a part of a download: tries and pauses count
// from the beginning again.
func Progress(err error) error { return &progressError{err} }

type progressError struct{ error }

func (e *progressError) Unwrap() error { return e.error }

// Sleep waits, and reports whether it did so to the end.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
