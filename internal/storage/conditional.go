package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/doctor"
)

// fencing is whether the storage honours the conditions of a write, as far as that is known.
type fencing int32

const (
	fencingUnknown fencing = iota
	fenced
	unfenced
)

// Conditional reports whether the storage honours If-Match and If-None-Match of a write. Without them Replace compares
// before it writes, and the caller must see to it that nobody else writes meanwhile. It asks the storage once, with an
// object of its own, which it removes.
func (r Repositories) Conditional(ctx context.Context) (bool, error) {
	if known := fencing(r.s.fencing.Load()); known != fencingUnknown {
		return known == fenced, nil
	}
	// Another program that asks at the same time has another object.
	key := RepositoriesPrefix + ".probe/" + rand.Text()
	if _, err := r.put(ctx, key, []byte("1"), minio.PutObjectOptions{}); err != nil {
		return false, r.s.failPut(ctx, "try a write below", RepositoriesPrefix, err)
	}
	result := fenced
	for _, set := range []func(*minio.PutObjectOptions){
		func(o *minio.PutObjectOptions) { o.SetMatchETagExcept("*") },
		func(o *minio.PutObjectOptions) { o.SetMatchETag("0123456789abcdef0123456789abcdef") },
	} {
		var options minio.PutObjectOptions
		set(&options)
		_, err := r.put(ctx, key, []byte("2"), options)
		switch {
		case err == nil, status(err) == http.StatusNotImplemented, status(err) == http.StatusBadRequest:
			result = unfenced
		case status(err) == http.StatusPreconditionFailed, status(err) == http.StatusConflict:
		default:
			return false, errors.Join(r.s.failPut(ctx, "try a conditional write below", RepositoriesPrefix, err),
				r.Remove(context.WithoutCancel(ctx), key))
		}
	}
	if err := r.Remove(ctx, key); err != nil {
		return false, err
	}
	r.s.fencing.Store(int32(result))
	return result == fenced, nil
}

func (r Repositories) put(
	ctx context.Context, key string, content []byte, options minio.PutObjectOptions,
) (minio.UploadInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	options.DisableContentSha256 = true
	return r.s.core.PutObject(ctx, r.s.bucket, key, bytes.NewReader(content), int64(len(content)), "",
		rpmflow.Digest(content), options)
}

// CheckRepositories looks whether these keys may write repositories, and how writers of them are kept apart.
func CheckRepositories(c Config) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		const name = "S3 repositories"
		store, err := Open(c)
		if err != nil {
			f.Skip(name, "S3 cannot be asked")
			return
		}
		defer store.Close()
		ctx, cancel := context.WithTimeout(ctx, doctor.RequestLimit)
		defer cancel()
		conditional, err := store.Repositories().Conditional(ctx)
		switch {
		case errors.Is(err, ErrNoBucket):
			f.Skip(name, "there is no bucket yet")
		case err != nil:
			f.Error(name, doctor.Failed, err)
		case conditional:
			f.OK(name, "%s can be written, on conditions (If-Match)", store.Address(RepositoriesPrefix))
		default:
			f.Add(name, doctor.Warning, fmt.Sprintf("%s can be written, but %s does not honour conditions of writes "+
				"(If-Match)", store.Address(RepositoriesPrefix), c.Endpoint),
				"publishers take a lease in NATS for each write, which is slower; `rpmflow repo` needs NATS, too")
		}
	}
}
