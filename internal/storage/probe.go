package storage

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

// probeKey is where Writable begins an upload; no build has such an id.
const probeKey = "builds/.probe/upload"

// Writable checks whether the keys may store what a build leaves. It starts an upload in parts and aborts it: nothing
// stays behind, though a builder may delete nothing.
func (s *Store) Writable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	id, err := s.core.NewMultipartUpload(ctx, s.bucket, probeKey, minio.PutObjectOptions{})
	if err != nil {
		return s.fail("begin an upload below", probeKey, err)
	}
	if err := s.core.AbortMultipartUpload(ctx, s.bucket, probeKey, id); err != nil {
		return s.fail("give up an upload below", probeKey, err)
	}
	return nil
}

// Clock returns the storage's time, to the second. Storages refuse signatures that are more than 15 minutes off.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.endpoint+"/", nil)
	if err != nil {
		return time.Time{}, fmt.Errorf("get the time of %s: %w", s.endpoint, err)
	}
	res, err := s.transport.RoundTrip(req)
	if err != nil {
		return time.Time{}, fmt.Errorf("get the time of %s: %w", s.endpoint, err)
	}
	_ = res.Body.Close() // every answer has the header
	at, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("get the time of %s: %w", s.endpoint, err)
	}
	return at, nil
}
