package storage_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// coreOf speaks S3 as it is, with the keys of cfg, or with none.
func coreOf(t *testing.T, cfg storage.Config) *minio.Core {
	t.Helper()
	transport, err := minio.DefaultTransport(false)
	testkit.Must(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	c, err := minio.NewCore(strings.TrimPrefix(cfg.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""), Region: cfg.Region, Transport: transport,
		MaxRetries: 1,
	})
	testkit.Must(t, err)
	return c
}

// call is one call of S3, made with an account, on the object at key, which is there. What it needs to work on is made
// as root.
type call struct {
	name string
	do   func(t *testing.T, as, root *minio.Core, key string) error
}

func newUpload(t *testing.T, root *minio.Core, key string) (upload, etag string) {
	t.Helper()
	upload, err := root.NewMultipartUpload(t.Context(), storagetest.Bucket, key, minio.PutObjectOptions{})
	testkit.Must(t, err)
	part, err := root.PutObjectPart(t.Context(), storagetest.Bucket, key, upload, 1, strings.NewReader("part"), 4,
		minio.PutObjectPartOptions{})
	testkit.Must(t, err)
	return upload, part.ETag
}

func putObject(t *testing.T, as *minio.Core, key string, o minio.PutObjectOptions) error {
	t.Helper()
	_, err := as.PutObject(t.Context(), storagetest.Bucket, key, strings.NewReader("text"), 4, "", "", o)
	return err
}

const bucket = storagetest.Bucket

// The calls on objects, by what they need.
var (
	getCalls = []call{
		{"get", func(t *testing.T, as, _ *minio.Core, key string) error {
			body, _, _, err := as.GetObject(t.Context(), bucket, key, minio.GetObjectOptions{})
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, body)
			return errors.Join(err, body.Close())
		}},
		{"head", func(t *testing.T, as, _ *minio.Core, key string) error {
			_, err := as.StatObject(t.Context(), bucket, key, minio.StatObjectOptions{})
			return err
		}},
	}
	putCalls = []call{
		{"put", func(t *testing.T, as, _ *minio.Core, key string) error {
			return putObject(t, as, key, minio.PutObjectOptions{})
		}},
		{"put new", func(t *testing.T, as, _ *minio.Core, key string) error {
			return putObject(t, as, key+"-first", minio.PutObjectOptions{DisableContentSha256: true})
		}},
		{"put if it is as it was", func(t *testing.T, as, root *minio.Core, key string) error {
			info, err := root.StatObject(t.Context(), bucket, key, minio.StatObjectOptions{})
			testkit.Must(t, err)
			var o minio.PutObjectOptions
			o.SetMatchETag(info.ETag)
			return putObject(t, as, key, o)
		}},
		{"begin an upload", func(t *testing.T, as, _ *minio.Core, key string) error {
			_, err := as.NewMultipartUpload(t.Context(), bucket, key, minio.PutObjectOptions{})
			return err
		}},
		{"upload a part", func(t *testing.T, as, root *minio.Core, key string) error {
			upload, _ := newUpload(t, root, key)
			_, err := as.PutObjectPart(t.Context(), bucket, key, upload, 1, strings.NewReader("part"), 4,
				minio.PutObjectPartOptions{})
			return err
		}},
		{"complete an upload", func(t *testing.T, as, root *minio.Core, key string) error {
			upload, etag := newUpload(t, root, key)
			_, err := as.CompleteMultipartUpload(t.Context(), bucket, key, upload,
				[]minio.CompletePart{{PartNumber: 1, ETag: etag}}, minio.PutObjectOptions{})
			return err
		}},
	}
	abortCalls = []call{{"abort an upload", func(t *testing.T, as, root *minio.Core, key string) error {
		upload, _ := newUpload(t, root, key)
		return as.AbortMultipartUpload(t.Context(), bucket, key, upload)
	}}}
	deleteCalls = []call{
		{"delete", func(t *testing.T, as, _ *minio.Core, key string) error {
			return as.RemoveObject(t.Context(), bucket, key, minio.RemoveObjectOptions{})
		}},
		{"delete many", func(t *testing.T, as, _ *minio.Core, key string) error {
			keys := make(chan minio.ObjectInfo, 1)
			keys <- minio.ObjectInfo{Key: key}
			close(keys)
			var last error
			for e := range as.RemoveObjects(t.Context(), bucket, keys, minio.RemoveObjectsOptions{}) {
				last = e.Err
			}
			return last
		}},
	}
	// Requests that no role may send.
	rootCalls = []call{
		{"list parts", func(t *testing.T, as, root *minio.Core, key string) error {
			upload, _ := newUpload(t, root, key)
			_, err := as.ListObjectParts(t.Context(), bucket, key, upload, 0, 10)
			return err
		}},
		{"tag", func(t *testing.T, as, _ *minio.Core, key string) error {
			return as.RemoveObjectTagging(t.Context(), bucket, key, minio.RemoveObjectTaggingOptions{})
		}},
		{"list uploads", func(t *testing.T, as, _ *minio.Core, _ string) error {
			_, err := as.ListMultipartUploads(t.Context(), bucket, "", "", "", "", 10)
			return err
		}},
		{"read the policy", func(t *testing.T, as, _ *minio.Core, _ string) error {
			_, err := as.GetBucketPolicy(t.Context(), bucket)
			return err
		}},
		{"write the policy", func(t *testing.T, as, root *minio.Core, _ string) error {
			policy, err := root.GetBucketPolicy(t.Context(), bucket)
			testkit.Must(t, err)
			return as.SetBucketPolicy(t.Context(), bucket, policy)
		}},
		{"make a bucket", func(t *testing.T, as, root *minio.Core, _ string) error {
			err := as.MakeBucket(t.Context(), "another-bucket", minio.MakeBucketOptions{})
			if err == nil {
				return root.RemoveBucket(t.Context(), "another-bucket")
			}
			return err
		}},
		{"list another bucket", func(t *testing.T, as, root *minio.Core, _ string) error {
			testkit.Must(t, root.MakeBucket(t.Context(), "foreign-bucket", minio.MakeBucketOptions{}))
			_, err := as.ListObjectsV2("foreign-bucket", "", "", "", "", 1)
			if err := root.RemoveBucket(t.Context(), "foreign-bucket"); err != nil {
				t.Error(err)
			}
			return err
		}},
	}
	listCalls = []call{
		{"head bucket", func(t *testing.T, as, _ *minio.Core, _ string) error {
			there, err := as.BucketExists(t.Context(), bucket)
			if err == nil && !there {
				err = errors.New("not there")
			}
			return err
		}},
		{"list", func(_ *testing.T, as, _ *minio.Core, key string) error {
			_, err := as.ListObjectsV2(bucket, key, "", "", "", 1)
			return err
		}},
	}
)

// refused is an answer that says no, and not any other failure.
func refused(err error) bool {
	answer := minio.ToErrorResponse(err)
	return answer.StatusCode == http.StatusForbidden || answer.Code == minio.AccessDenied
}

// TestRights goes through who may do what, where; what is not in the table is forbidden.
func TestRights(t *testing.T) {
	t.Parallel()
	r := storagetest.StartRoles(t, t.TempDir(), "s-", nil)
	root := coreOf(t, r.Root)
	all := []string{"builds/", "sources/", "uploads/", "repos/", "other/", "builds-not/", ""}
	nobody, wrong := r.Configs[rpmflow.RoleBuilder], r.Configs[rpmflow.RoleBuilder]
	nobody.AccessKey, nobody.SecretKey = "", ""
	wrong.SecretKey = "of another account"
	stranger := r.Root
	stranger.AccessKey = "stranger"
	subscriber := r.Root
	subscriber.AccessKey = string(rpmflow.RoleSubscriber)
	for _, who := range []struct {
		name                         string
		cfg                          storage.Config
		list                         bool
		get, put, abort, remove, any []string // prefixes
	}{
		{name: "listener", cfg: r.Configs[rpmflow.RoleListener], list: true,
			get: []string{"builds/", "uploads/", "repos/"}, put: []string{"uploads/"}, abort: []string{"uploads/"}},
		{name: "builder", cfg: r.Configs[rpmflow.RoleBuilder], list: true,
			get: []string{"builds/", "sources/", "uploads/"}, put: []string{"builds/", "sources/"},
			abort: []string{"builds/", "sources/"}},
		{name: "publisher", cfg: r.Configs[rpmflow.RolePublisher], list: true,
			get: []string{"builds/", "repos/"}, put: []string{"repos/"}, abort: []string{"repos/"},
			remove: []string{"repos/"}},
		{name: "root", cfg: r.Root, list: true, get: all, put: all, abort: all, remove: all, any: all},
		{name: "anonymous", cfg: nobody},
		{name: "wrong key", cfg: wrong},
		{name: "stranger", cfg: stranger},
		{name: "subscriber", cfg: subscriber},
	} {
		t.Run(who.name, func(t *testing.T) {
			as := coreOf(t, who.cfg)
			check := func(c call, prefix string, allowed bool) {
				t.Helper()
				key := prefix + "a/b"
				testkit.Must(t, putObject(t, root, key, minio.PutObjectOptions{}))
				err := c.do(t, as, root, key)
				switch {
				case allowed && err != nil:
					t.Errorf("%s %s: %v, want it allowed", c.name, key, err)
				case !allowed && !refused(err):
					t.Errorf("%s %s: %v, want it refused", c.name, key, err)
				}
			}
			for _, prefix := range all {
				for _, group := range []struct {
					calls    []call
					prefixes []string
				}{{getCalls, who.get}, {putCalls, who.put}, {abortCalls, who.abort}, {deleteCalls, who.remove},
					{rootCalls, who.any}} {
					for _, c := range group.calls {
						check(c, prefix, slices.Contains(group.prefixes, prefix))
					}
				}
				for _, c := range listCalls {
					check(c, prefix, who.list)
				}
				for _, to := range all { // both ends of a copy are asked for
					check(call{"copy to " + to, func(t *testing.T, as, _ *minio.Core, key string) error {
						_, err := as.Client.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: bucket, Object: to +
							"copy"},
							minio.CopySrcOptions{Bucket: bucket, Object: key})
						return err
					}}, prefix, slices.Contains(who.get, prefix) && slices.Contains(who.put, to))
				}
			}
			buckets, err := as.ListBuckets(t.Context())
			if who.name != "root" && (len(buckets) != 0 || err != nil && !refused(err)) {
				t.Errorf("list buckets: %v, %v", buckets, err)
			}
		})
	}
}

// TestNoWayAround writes below a prefix that is allowed, with paths that lead out of it on a file system.
func TestNoWayAround(t *testing.T) {
	t.Parallel()
	r := storagetest.StartRoles(t, t.TempDir(), "s-", nil)
	root, builder := coreOf(t, r.Root), r.Configs[rpmflow.RoleBuilder]
	testkit.Must(t, errors.Join(putObject(t, root, "repos/a/b", minio.PutObjectOptions{}),
		putObject(t, root, "builds/a/b", minio.PutObjectOptions{})))
	transport := &http.Transport{DisableKeepAlives: true}
	for _, path := range []string{
		"builds/../repos/a/b", "builds/%2e%2e/repos/a/b", "builds/a/../../repos/a/b", "builds/..%2Frepos/a/b",
		"builds/a%2F..%2F..%2Frepos/a/b",
		"builds//../repos/a/b", "builds/./../repos/a/b", "builds/%252e%252e/repos/a/b", "repos/a/./b", "repos//a/b",
		"./repos/a/b", "/repos/a/b",
		"builds/../../" + bucket + "/repos/a/b", "builds%2F..%2Frepos%2Fa%2Fb",
	} {
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			req, err := http.NewRequestWithContext(t.Context(), method, builder.Endpoint, strings.NewReader("changed"))
			testkit.Must(t, err)
			decoded, err := url.PathUnescape("/" + bucket + "/" + path)
			testkit.Must(t, err)
			req.URL.Path, req.URL.RawPath = decoded, "/"+bucket+"/"+path
			if method == http.MethodDelete {
				req.Body, req.ContentLength = nil, 0
			}
			req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
			resp, err := (&http.Client{Transport: transport}).Do(signer.SignV4(*req, builder.AccessKey,
				builder.SecretKey, "",
				builder.Region))
			testkit.Must(t, err)
			testkit.Must(t, resp.Body.Close())
			if got, _ := read(t, open(t, r.Root), "repos/a/b"); string(got) != "text" {
				t.Fatalf("%s %s: %s, and the object is %q", method, path, resp.Status, got)
			}
		}
	}
	// Keys that stand in a header or a body instead of the path.
	publisher := coreOf(t, r.Configs[rpmflow.RolePublisher])
	if err := deleteCalls[1].do(t, publisher, root, "repos/../builds/a/b"); err == nil {
		t.Error("deleted what is elsewhere")
	}
	testkit.Must(t, putObject(t, root, "sources/a/b", minio.PutObjectOptions{}))
	if _, err := publisher.Client.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: bucket, Object: "repos/copy"},
		minio.CopySrcOptions{Bucket: bucket, Object: "builds/../sources/a/b"}); err == nil {
		t.Error("copied what may not be read")
	}
	var outside []string
	for o := range root.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if !strings.HasPrefix(o.Key, "builds/") {
			outside = append(outside, o.Key)
		}
	}
	if want := []string{"repos/a/b", "sources/a/b"}; !slices.Equal(outside, want) {
		t.Errorf("%v, want %v", outside, want)
	}
	read(t, open(t, r.Root), "builds/a/b") // is still there
}

// TestRolesThroughStore does what builder and listener do, each with its own account.
func TestRolesThroughStore(t *testing.T) {
	t.Parallel()
	r := storagetest.StartRoles(t, t.TempDir(), "s-", nil)
	builder, listener := open(t, r.Configs[rpmflow.RoleBuilder]), open(t, r.Configs[rpmflow.RoleListener])
	for _, s := range []*storage.Store{builder, listener, open(t, r.Configs[rpmflow.RolePublisher])} {
		if err := errors.Join(s.Ensure(t.Context()), s.Healthy(t.Context())); err != nil {
			t.Error(err)
		}
	}
	big := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(big) // never fails
	builder.SetLimits(5<<20, 5<<20)
	if _, err := builder.PutFile(t.Context(), prefix+"big.rpm", write(t, big), rpmflow.KindRPM); err != nil {
		t.Fatal(err)
	}
	if _, err := builder.PutLog(t.Context(), prefix+"build.log.gz", write(t, []byte("make all\n"))); err != nil {
		t.Fatal(err)
	}
	testkit.Must(t, builder.PutJSON(t.Context(), prefix+"build.json", 1))
	if got, _ := read(t, listener, prefix+"big.rpm"); !bytes.Equal(got, big) {
		t.Errorf("%d bytes came back", len(got))
	}
	// A missing object differs from a forbidden one.
	_, _, err := listener.Open(t.Context(), prefix+"not-there")
	wantError(t, err, storage.ErrNotFound)
	_, _, err = listener.Open(t.Context(), "sources/a/b")
	wantError(t, err, storage.ErrRefused, "rpmflow config s3")
	_, err = listener.PutFile(t.Context(), prefix+"c", write(t, []byte("x")), rpmflow.KindRPM)
	wantError(t, err, storage.ErrRefused, "rpmflow config s3")
	_, err = builder.PutFile(t.Context(), "repos/a/b.rpm", write(t, big), rpmflow.KindRPM)
	wantError(t, err, storage.ErrRefused)
}
