package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
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
	builds map[string]rpmflow.State // those that ran at the first signal, with their last known state
	done   chan struct{}
}

// watchShutdown begins with the first signal, which ends soft, and goes on until ctx ends.
func watchShutdown(ctx, soft context.Context, cfg *config.Config, out io.Writer) *shutdown {
	s := &shutdown{
		out: out, drain: cfg.Builder.DrainTime, builds: map[string]rpmflow.State{}, done: make(chan struct{}),
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
	for _, b := range page.Builds {
		s.builds[b.ID] = b.State
	}
	for {
		for id, state := range s.builds {
			if state == rpmflow.Finished {
				continue
			}
			b, err := s.client.Build(ctx, id)
			if err != nil {
				continue // the listener ends as well
			}
			if s.builds[id] = b.State; b.State == rpmflow.Finished {
				fmt.Fprintf(s.out, "  %s  %s\n", id, standing(b))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// report prints the result; again is the command that starts the same system again.
func (s *shutdown) report(dir, again string) {
	<-s.done
	waiting := 0
	for _, state := range s.builds {
		if state != rpmflow.Finished {
			waiting++
		}
	}
	fmt.Fprint(s.out, "rpmflow has stopped.")
	if waiting > 0 {
		fmt.Fprintf(s.out, " %s did not finish: the next start builds them.", count(waiting, "build"))
	}
	fmt.Fprintf(s.out, " All data remain in %s. Start it again: %s\n", dir, again)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
