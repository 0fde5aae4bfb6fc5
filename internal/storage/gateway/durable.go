package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3response"
)

// durable is versitygw's POSIX backend with what it lacks: when a change is answered, it survives a power cut. It
// covers the calls that make, replace and remove objects and buckets; tags and locks are not used by rpmflow, owner and
// policy of the bucket are written and synced at the start (the list is in the test).
type durable struct {
	*posix.Posix
	objects  string // directory of the buckets
	metadata string // directory of the metadata, empty if that is in extended attributes
}

// PutObject syncs the content before the file gets its name too, so that a replaced object is at any moment the old one
// or the new one, never half of it.
func (d *durable) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	out, err := d.PutObjectWithPostFunc(ctx, in, (*os.File).Sync)
	if err != nil {
		return out, err
	}
	return out, d.syncObject(in.Bucket, in.Key)
}

// CompleteMultipartUpload is where the parts become an object.
func (d *durable) CompleteMultipartUpload(
	ctx context.Context, in *s3.CompleteMultipartUploadInput,
) (s3response.CompleteMultipartUploadResult, string, error) {
	out, version, err := d.Posix.CompleteMultipartUpload(ctx, in)
	if err != nil {
		return out, version, err
	}
	return out, version, d.syncObject(in.Bucket, in.Key)
}

// CopyObject makes an object of another, or changes one's metadata.
func (d *durable) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := d.Posix.CopyObject(ctx, in)
	if err != nil {
		return out, err
	}
	return out, d.syncObject(in.Bucket, in.Key)
}

// DeleteObject removes an object, and the directories that it leaves empty.
func (d *durable) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	out, err := d.Posix.DeleteObject(ctx, in)
	if err != nil {
		return out, err
	}
	return out, d.syncObject(in.Bucket, in.Key)
}

// DeleteObjects does the same for many.
func (d *durable) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	out, err := d.Posix.DeleteObjects(ctx, in)
	if err != nil {
		return out, err
	}
	for _, object := range out.Deleted {
		err = errors.Join(err, d.syncObject(in.Bucket, object.Key))
	}
	return out, err
}

// CreateBucket makes a bucket.
func (d *durable) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	if err := d.Posix.CreateBucket(ctx, in, acl); err != nil {
		return err
	}
	return d.syncBucket(*in.Bucket)
}

// DeleteBucket removes an empty bucket.
func (d *durable) DeleteBucket(ctx context.Context, bucket string) error {
	if err := d.Posix.DeleteBucket(ctx, bucket); err != nil {
		return err
	}
	return d.syncBucket(bucket)
}

func (d *durable) syncBucket(bucket string) error {
	return d.syncObject(&bucket, nil)
}

// syncObject syncs what is, or was, at a key, with its metadata, and every directory above it up to the one that
// holds the buckets. What another request has removed meanwhile needs no sync; its directory gets one.
func (d *durable) syncObject(bucket, key *string) error {
	name := ""
	if bucket != nil {
		name = *bucket
	}
	if key != nil {
		name = filepath.Join(name, *key)
	}
	if !filepath.IsLocal(name) {
		return fmt.Errorf("sync %q: not below the data directory", name)
	}
	if err := syncUp(d.objects, name); err != nil || d.metadata == "" {
		return err
	}
	attributes := filepath.Join(name, "meta") // as versitygw's sidecar names it
	entries, err := os.ReadDir(filepath.Join(d.metadata, attributes))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sync metadata: %w", err)
	}
	for _, entry := range entries {
		if err := syncPath(filepath.Join(d.metadata, attributes, entry.Name())); err != nil {
			return err
		}
	}
	return syncUp(d.metadata, attributes)
}

// syncUp syncs root/name and all directories above it, root last: a name is safe when its directory is.
func syncUp(root, name string) error {
	for ; ; name = filepath.Dir(name) {
		if err := syncPath(filepath.Join(root, name)); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
	}
}

// syncPath syncs one file or directory, unless it is gone.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
