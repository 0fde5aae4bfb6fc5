package storage_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// The cache of sources is used with a builder's own rights.
func TestSources(t *testing.T) {
	t.Parallel()
	roles := storagetest.StartRoles(t, t.TempDir(), "s-", nil)
	c := open(t, roles.Configs[rpmflow.RoleBuilder]).Sources()
	sum, id := strings.Repeat("ab", 64), rpmflow.Digest([]byte("x"))

	if _, ok, err := c.Open(t.Context(), sum, "hello 1+2.tar.gz"); ok || err != nil {
		t.Errorf("content that was never stored: %v, %v", ok, err)
	}
	if _, ok, err := c.Find(t.Context(), id); ok || err != nil {
		t.Errorf("a record that was never written: %v, %v", ok, err)
	}
	for _, text := range []string{"damaged", "content"} { // what is there is replaced
		file := filepath.Join(t.TempDir(), "x")
		testkit.Must(t, os.WriteFile(file, []byte(text), 0o600))
		testkit.Must(t, c.Keep(t.Context(), sum, "hello 1+2.tar.gz", file))
	}
	body, ok, err := c.Open(t.Context(), sum, "hello 1+2.tar.gz")
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); string(text) != "content" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}

	// Of many that record at once one wins, and all get the same answer.
	var wg sync.WaitGroup
	got := make([]rpmflow.SourceFile, 16)
	for i := range got {
		wg.Go(func() {
			f, err := c.Record(t.Context(), id, rpmflow.SourceFile{Name: "x", SHA512: fmt.Sprint(i), Size: int64(i)})
			if err != nil {
				t.Error(err)
			}
			got[i] = f
		})
	}
	wg.Wait()
	for _, f := range got {
		if f != got[0] || f.Name != "x" {
			t.Errorf("got %+v and %+v", f, got[0])
		}
	}
	if f, ok, err := c.Find(t.Context(), id); !ok || err != nil || f != got[0] {
		t.Errorf("recorded %+v, %v, %v; got %+v", f, ok, err, got[0])
	}

	bad := rpmflow.Digest([]byte("bad"))
	if _, err := coreOf(t, roles.Root).PutObject(t.Context(), storagetest.Bucket, "sources/by-url/"+bad+".json",
		strings.NewReader("{"), 1, "", "", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Find(t.Context(), bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("a damaged record: %v", err)
	}

	listener := open(t, roles.Configs[rpmflow.RoleListener]).Sources()
	_, err = listener.Record(t.Context(), rpmflow.Digest(nil), rpmflow.SourceFile{})
	wantError(t, err, storage.ErrRefused)
	_, _, err = listener.Find(t.Context(), id)
	wantError(t, err, storage.ErrRefused)
	if err := c.Keep(t.Context(), sum, "a/../b", "x"); !errors.Is(err, storage.ErrKey) {
		t.Errorf("got %v", err)
	}
}
