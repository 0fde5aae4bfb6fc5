package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
)

// lastEvent is a build's newest event, as its subscribers get it.
func lastEvent(ctx context.Context, cfg *config.Config, build string) ([]byte, error) {
	nc, js, err := events.Dial(connect.NATS(cfg, "rpmflow show"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	ledger, err := events.NewLedger(ctx, js)
	if err != nil {
		return nil, err
	}
	last, err := ledger.LastOf(ctx, build)
	if err != nil {
		return nil, fmt.Errorf("event of build %s: %w", build, err)
	}
	return last.Raw, nil
}
