package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/config"
)

// shutdown reports what happens between the first signal and the end of `rpmflow up`.
type shutdown struct {
	out    io.Writer
	client *api.Client
	drain  time.Duration
	done   chan struct{}

	mu      sync.Mutex
	running int // of the builds that ran at the first signal
}

// watchShutdown begins with the first signal, which ends soft, and goes on until ctx ends.
func watchShutdown(ctx, soft context.Context, cfg *config.Config, out io.Writer) *shutdown {
	s := &shutdown{
		out: out, drain: cfg.Builder.DrainTime, done: make(chan struct{}),
		client: api.NewClient(cfg.PublicURL.String(), ""),
	}
	go func() {
		defer close(s.done)
		select {
		case <-ctx.Done():
		case <-soft.Done():
			s.follow(ctx)
		}
	}()
	return s
}

func (s *shutdown) follow(ctx context.Context) {
	page, err := s.client.Builds(ctx, url.Values{"state": {string(rpmflow.Running)}})
	if err != nil || len(page.Builds) == 0 {
		fmt.Fprintln(s.out, "\nStopping.")
		return
	}
	fmt.Fprintf(s.out, "\nStopping. %s may go on for %s, then they go back to the queue; Ctrl-C again stops them "+
		"now.\n", count(len(page.Builds), "running build"), s.drain)
	s.running = len(page.Builds)
	var all sync.WaitGroup
	for _, b := range page.Builds {
		all.Go(func() {
			b, err := s.client.Wait(ctx, b.ID, func(rpmflow.Build) {})
			if err != nil {
				return // the listener ends as well
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.running--
			fmt.Fprintf(s.out, "  %s  %s\n", b.ID, standing(b))
		})
	}
	all.Wait()
}

// report prints the result; again is the command that starts the same system again.
func (s *shutdown) report(dir, again string) {
	<-s.done
	fmt.Fprint(s.out, "rpmflow has stopped.")
	if s.running > 0 {
		fmt.Fprintf(s.out, " %s did not finish: the next start builds them.", count(s.running, "build"))
	}
	fmt.Fprintf(s.out, " All data remain in %s. Start it again: %s\n", dir, again)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
