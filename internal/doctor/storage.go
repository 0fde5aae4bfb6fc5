package doctor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// storage looks at the bucket with the program's keys: there, ours, readable, and for a builder writable.
func (e *examination) storage(ctx context.Context, cfg *config.Config) {
	const name = "S3"
	store, err := assembly.Storage(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		e.fault(name, Failed, err)
		return
	}
	defer store.Close()
	ctx, cancel := context.WithTimeout(ctx, oneLimit)
	defer cancel()
	asked := time.Now()
	if theirs, err := store.Clock(ctx); err == nil { // when nobody answers, the next one says so
		e.clock(name, theirs, asked)
	}
	err = store.Healthy(ctx)
	if errors.Is(err, storage.ErrNoBucket) && cfg.S3.CreateBucket {
		e.add(name, Warning, err.Error(), "start a builder: it makes the bucket, where its account may")
		return
	}
	if err != nil {
		if _, do := rpmflow.Advice(err); storage.Temporary(err) && do == "" {
			err = rpmflow.Advise(err, "start it, or correct s3.endpoint")
		}
		e.fault(name, Failed, err)
		return
	}
	e.ok(name, "%s at %s can be read", store.Address(""), cfg.S3.Endpoint)
	if e.program == config.ForListener {
		return
	}
	if err := store.Writable(ctx); err != nil {
		e.fault(name, Failed, err)
		return
	}
	e.ok(name, "%s can be written", store.Address("builds/"))
}
