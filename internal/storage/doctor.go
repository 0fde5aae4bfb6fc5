package storage

import (
	"context"
	"errors"
	"time"

	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// Check looks at the bucket with these keys: it exists, belongs to this installation, and can be read, and written
// if writes is true.
func Check(c Config, writes bool) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		const name = "S3"
		store, err := Open(c)
		if err != nil {
			f.Error(name, doctor.Failed, err)
			return
		}
		defer store.Close()
		ctx, cancel := context.WithTimeout(ctx, doctor.RequestLimit)
		defer cancel()
		asked := time.Now()
		if theirs, err := store.Clock(ctx); err == nil { // the next request reports that nothing answers
			f.Clock(name, theirs, asked)
		}
		err = store.Healthy(ctx)
		if errors.Is(err, ErrNoBucket) && c.CreateBucket {
			f.Add(name, doctor.Warning, err.Error(), "start a builder: it makes the bucket, if its account may")
			return
		}
		if err != nil {
			if _, do := hint.Split(err); Temporary(err) && do == "" {
				err = hint.Add(err, "start it, or correct s3.endpoint")
			}
			f.Error(name, doctor.Failed, err)
			return
		}
		f.OK(name, "%s at %s can be read", store.Address(""), c.Endpoint)
		if !writes {
			return
		}
		if err := store.Writable(ctx); err != nil {
			f.Error(name, doctor.Failed, err)
			return
		}
		f.OK(name, "%s can be written", store.Address("builds/"))
	}
}
