package storage_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestConditionalWrites asks storages that honour conditions, and one that ignores them, with the publisher's account.
func TestConditionalWrites(t *testing.T) {
	t.Parallel()
	good := storagetest.StartRoles(t, t.TempDir(), "secret-", nil).Configs[rpmflow.RolePublisher]
	for name, c := range map[string]struct {
		cfg   storage.Config
		want  bool
		state doctor.State
	}{
		"honours them": {good, true, doctor.OK},
		"ignores them": {storagetest.Unconditional(t, good), false, doctor.Warning},
	} {
		store := testkit.Value(storage.Open(c.cfg))(t)
		t.Cleanup(store.Close)
		repos := store.Repositories()
		if got := testkit.Value(repos.Conditional(t.Context()))(t); got != c.want {
			t.Errorf("%s: conditional writes: %v", name, got)
		}
		for o, err := range repos.List(t.Context(), "repos/.probe/") {
			t.Errorf("%s: it has left %v, %v", name, o, err)
		}
		// In both cases an object that was replaced is not replaced again by one who has read the one before.
		key := "repos/p/t/" + c.cfg.AccessKey + string(c.state)
		first := testkit.Value(repos.Replace(t.Context(), key, []byte("1"), "", storage.Headers{}))(t)
		testkit.Value(repos.Replace(t.Context(), key, []byte("2"), first, storage.Headers{}))(t)
		for _, version := range []string{first, ""} {
			_, err := repos.Replace(t.Context(), key, []byte("3"), version, storage.Headers{})
			if !errors.Is(err, storage.ErrChanged) {
				t.Errorf("%s: replaced behind version %q: %v", name, version, err)
			}
		}
		r := doctor.Examine(t.Context(), "", func() ([]doctor.Check, error) {
			return []doctor.Check{storage.CheckRepositories(c.cfg)}, nil
		})
		if len(r.Checks) != 1 || r.Checks[0].State != c.state {
			t.Errorf("%s: doctor: %+v", name, r.Checks)
		}
	}
}

// TestConditionalWritesAreNotImplemented asks a storage that refuses conditions, and one that fails.
func TestConditionalWritesAreNotImplemented(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{http.StatusNotImplemented: true, http.StatusForbidden: false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				w.WriteHeader(http.StatusNoContent)
			}
			if r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(status)
			}
		}))
		t.Cleanup(server.Close)
		store := testkit.Value(storage.Open(storage.Config{Endpoint: server.URL, Bucket: "bucket", AccessKey: "a",
			SecretKey: "b"}))(t)
		t.Cleanup(store.Close)
		conditional, err := store.Repositories().Conditional(t.Context())
		if conditional || (err == nil) != want {
			t.Errorf("status %d: %v, %v", status, conditional, err)
		}
	}
}
