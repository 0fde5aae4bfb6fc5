package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rpmflow/rpmflow"
)

// meter shows the progress of a build: a line for each finished phase, and on a terminal a last line that changes, with
// the running phase, its time, and the newest line of the log.
type meter struct {
	w       io.Writer
	verbose bool // the log itself is shown

	mu      sync.Mutex
	phases  []rpmflow.PhaseTime
	since   time.Time // when the running phase began
	last    string    // line of the log
	partial []byte
	drawn   bool
	paused  bool // another program uses the terminal
	stop    chan struct{}
	drawing sync.WaitGroup
}

const redraw = 200 * time.Millisecond

// newMeter writes to w until end is called.
func newMeter(w io.Writer, verbose bool) *meter {
	m := &meter{w: w, verbose: verbose, stop: make(chan struct{})}
	if terminal(w) && !verbose && os.Getenv("TERM") != "dumb" {
		m.drawing.Go(m.run)
	}
	return m
}

func (m *meter) run() {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.mu.Lock()
			m.draw()
			m.mu.Unlock()
		case <-m.stop:
			return
		}
	}
}

// Write takes the build's log.
func (m *meter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.verbose {
		return m.w.Write(p)
	}
	m.partial = append(m.partial, bytes.ReplaceAll(p, []byte{'\r'}, []byte{'\n'})...)
	for {
		line, rest, whole := bytes.Cut(m.partial, []byte{'\n'})
		if !whole {
			break
		}
		if text := strings.TrimSpace(string(line)); text != "" {
			m.last = text
		}
		m.partial = rest
	}
	if len(m.partial) > 4096 {
		m.partial = nil
	}
	return len(p), nil
}

// report takes the record of a build that has entered a phase.
func (m *meter) report(b rpmflow.Build) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over(b.Phases)
	m.since, m.last = time.Now(), ""
}

// over writes a line for each phase that has ended since the last call.
func (m *meter) over(phases []rpmflow.PhaseTime) {
	m.clear()
	for i, p := range phases {
		if p.Seconds > 0 && (i >= len(m.phases) || m.phases[i].Seconds == 0) {
			fmt.Fprintf(m.w, "%-14s%6.1fs\n", p.Phase, p.Seconds)
		}
	}
	m.phases = phases
}

// pause stops drawing.
func (m *meter) pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	m.paused = true
}

// end stops the meter; phases are those of the finished build.
func (m *meter) end(phases []rpmflow.PhaseTime) {
	close(m.stop)
	m.drawing.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over(phases)
}

func (m *meter) draw() {
	if len(m.phases) == 0 || m.paused {
		return
	}
	columns := width(m.w)
	if columns < 30 {
		columns = 80
	}
	phase := m.phases[len(m.phases)-1].Phase
	line := fmt.Sprintf("%-14s%6.1fs  %s", phase, time.Since(m.since).Seconds(), printable(m.last))
	if r := []rune(line); len(r) >= columns {
		line = string(r[:columns-1])
	}
	fmt.Fprintf(m.w, "\r\x1b[K%s", line)
	m.drawn = true
}

func (m *meter) clear() {
	if m.drawn {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.drawn = false
	}
}

// printable removes from a package's text what a terminal would execute.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
