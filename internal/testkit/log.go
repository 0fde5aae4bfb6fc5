package testkit

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Log is what programs write while a test reads it. Its zero value is empty.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Logger writes to the log.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Until waits until the log has these words.
func (l *Log) Until(t testing.TB, words string) {
	t.Helper()
	Until(t, func() error {
		if text := l.String(); !strings.Contains(text, words) {
			return fmt.Errorf("the log does not say %q:\n%s", words, text)
		}
		return nil
	})
}
