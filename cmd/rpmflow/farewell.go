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

// farewell says what happens between the first signal and the end of `rpmflow up`.
type farewell struct {
	out    io.Writer
	client *api.Client
	drain  time.Duration
	left   map[string]rpmflow.State // builds that ran when the end began, as they were seen last
	seen   chan struct{}
}

// watchEnd begins with the first signal, which ends soft, and goes on until ctx ends.
func watchEnd(ctx, soft context.Context, cfg *config.Config, out io.Writer) *farewell {
	f := &farewell{
		out: out, drain: cfg.Builder.DrainTime, left: map[string]rpmflow.State{}, seen: make(chan struct{}),
		client: api.NewClient(cfg.PublicURL.String(), ""),
	}
	go func() {
		defer close(f.seen)
		select {
		case <-ctx.Done():
		case <-soft.Done():
			f.follow(ctx)
		}
	}()
	return f
}

func (f *farewell) follow(ctx context.Context) {
	page, err := f.client.Builds(ctx, url.Values{"state": {string(rpmflow.Running)}})
	if err != nil || len(page.Builds) == 0 {
		fmt.Fprintln(f.out, "\nStopping.")
		return
	}
	fmt.Fprintf(f.out, "\nStopping. %s may go on for %s, then they go back to the queue; Ctrl-C again stops them now.\n",
		count(len(page.Builds), "running build"), f.drain)
	for _, b := range page.Builds {
		f.left[b.ID] = b.State
	}
	for {
		for id, state := range f.left {
			if state == rpmflow.Finished {
				continue
			}
			b, err := f.client.Build(ctx, id)
			if err != nil {
				continue // the listener ends, too
			}
			if f.left[id] = b.State; b.State == rpmflow.Finished {
				fmt.Fprintf(f.out, "  %s  %s\n", id, standing(b))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// say is the last word; again is the command that starts the same again.
func (f *farewell) say(dir, again string) {
	<-f.seen
	waiting := 0
	for _, state := range f.left {
		if state != rpmflow.Finished {
			waiting++
		}
	}
	fmt.Fprint(f.out, "rpmflow has stopped.")
	if waiting > 0 {
		fmt.Fprintf(f.out, " %s did not finish: the next start builds them.", count(waiting, "build"))
	}
	fmt.Fprintf(f.out, " All data stay in %s. Start it again: %s\n", dir, again)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
