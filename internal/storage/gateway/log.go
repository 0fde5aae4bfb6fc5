package gateway

import (
	"bytes"
	"log/slog"
	"regexp"
	"sync"
)

const (
	maxLine   = 8 << 10 // longer lines are cut into several
	tailLines = 8       // kept for the error of a child that ends by itself
)

// color is what versitygw's own log wraps lines in (ECMA-48, select graphic rendition).
var color = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// logLines passes the child's output on to slog, line by line, but for the line that says that it is ready.
type logLines struct {
	logger    *slog.Logger
	readyLine string
	ready     chan struct{} // closed when that line has come

	mu   sync.Mutex
	rest []byte
	last []string
}

// Write implements io.Writer.
func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 && len(l.rest) < maxLine {
			return len(p), nil
		}
		if end < 0 || end > maxLine {
			end = maxLine - 1
		}
		l.emit(l.rest[:end+1])
		l.rest = l.rest[end+1:]
	}
}

func (l *logLines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emit(l.rest)
	l.rest = nil
}

func (l *logLines) emit(line []byte) {
	text := string(bytes.TrimSpace(color.ReplaceAll(line, nil)))
	switch text {
	case "":
		return
	case l.readyLine:
		close(l.ready)
		return
	}
	l.logger.Warn("the S3 server says", "line", text)
	l.last = append(l.last, text)
	if len(l.last) > tailLines {
		l.last = l.last[1:]
	}
}

func (l *logLines) tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.last...)
}
