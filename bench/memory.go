package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// idleMemory runs a listener and a builder as separate programs, against NATS and S3 of this process, and reads what
// the kernel says of their memory.
func idleMemory(ctx context.Context, bin, dir string) error {
	a, err := startApart(ctx, bin, dir, "")
	if err != nil {
		return err
	}
	defer a.close()
	if _, err := a.start(ctx, "builder", "builder"); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(10 * time.Second):
	}
	var errs []error
	for _, p := range a.running {
		rss, err := memory(p, "VmRSS")
		errs = append(errs, err)
		fmt.Printf("  %-10s %s\n", filepath.Base(p.Path), rss)
	}
	return errors.Join(errs...)
}
