package storage_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestBucketOfAnotherAccount checks what the hint is if the account has no rights.
func TestBucketOfAnotherAccount(t *testing.T) {
	t.Parallel()
	r := storagetest.StartRoles(t, t.TempDir(), "s-", nil)
	testkit.Must(t, coreOf(t, r.Root).MakeBucket(t.Context(), "private", minio.MakeBucketOptions{}))
	cfg := r.Configs[rpmflow.RoleListener]
	cfg.Bucket = "private"
	s := open(t, cfg)
	wantError(t, s.Ensure(t.Context()), storage.ErrRefused, "AccessDenied", "s3.bucket", "rpmflow config s3")
	wantError(t, s.Healthy(t.Context()), storage.ErrRefused, "rpmflow config s3")

	cfg.Bucket = "not-there"
	wantError(t, open(t, cfg).Ensure(t.Context()), storage.ErrRefused, "make bucket", "may not make it",
		"rpmflow config s3")
	cfg.CreateBucket = false
	wantError(t, open(t, cfg).Ensure(t.Context()), storage.ErrNoBucket, "make it")
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	if _, err := storage.RolePolicy("b", rpmflow.RoleSubscriber); err == nil ||
		!strings.Contains(err.Error(), "listener, builder, publisher") {
		t.Error(err)
	}
	if _, err := storage.BucketPolicy("b", map[rpmflow.Role]string{"": "x"}); err == nil {
		t.Error("a policy for no account")
	}
	long := strings.Repeat("b", 63)
	names := map[rpmflow.Role]string{}
	for _, role := range storage.Roles() {
		names[role] = string(role)
		own, err := storage.RolePolicy(long, role)
		if err != nil || !json.Valid(own) || bytes.Contains(own, []byte("Principal")) {
			t.Errorf("%s: %s, %v", role, own, err)
		}
	}
	policy, err := storage.BucketPolicy(long, names)
	if err != nil || !json.Valid(policy) {
		t.Fatalf("%s, %v", policy, err)
	}
	// It is in an extended attribute. ext4 has 4096 bytes of them for each file, and others need room.
	if len(policy) > 3000 {
		t.Errorf("the policy has %d bytes", len(policy))
	}
}
