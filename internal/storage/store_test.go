package storage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	storagetest.Main()
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, cfg storage.Config) *storage.Store {
	t.Helper()
	s, err := storage.Open(cfg)
	testkit.Must(t, err)
	t.Cleanup(s.Close)
	return s
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	testkit.Must(t, os.WriteFile(file, content, 0o600))
	return file
}

func read(t *testing.T, s *storage.Store, key string) ([]byte, storage.Info) {
	t.Helper()
	r, info, err := s.Open(t.Context(), key)
	testkit.Must(t, err)
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	testkit.Must(t, err)
	return b, info
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

const prefix = "builds/hello/7b0c7a2e-6f5e-5f0e-9d2d-0c7c8b8e1a11/1/"

func TestFiles(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	random := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random) // never fails
	for _, test := range []struct {
		name    string
		kind    rpmflow.ArtifactKind
		content []byte
		want    string
	}{
		{"libstdc++-1~rc1^git-1.fc42.x86_64.rpm", rpmflow.KindRPM, random, "application/x-rpm"},
		{"hello-1-1.src.rpm", rpmflow.KindSRPM, []byte("\xed\xab\xee\xdb"), "application/x-rpm"},
		{"state.log", rpmflow.KindLog, []byte("grüße\n"), "text/plain; charset=utf-8"},
		{"with space & ünïcode %41?#.log", rpmflow.KindLog, []byte("x"), "text/plain; charset=utf-8"},
		{"empty.log", rpmflow.KindLog, nil, "text/plain; charset=utf-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := prefix + test.name
			a, err := s.PutFile(t.Context(), key, write(t, test.content), test.kind)
			testkit.Must(t, err)
			want := rpmflow.Artifact{
				Name: test.name, Kind: test.kind, Key: key, URL: "s3://rpmflow-test/" + key,
				SHA256: sum(test.content), Size: int64(len(test.content)), ContentType: test.want,
			}
			if a != want {
				t.Errorf("got  %+v\nwant %+v", a, want)
			}
			got, info := read(t, s, key)
			if !bytes.Equal(got, test.content) {
				t.Errorf("%d bytes came back, want %d", len(got), len(test.content))
			}
			if info.Size != a.Size || info.ContentType != test.want || info.ContentEncoding != "" ||
				info.SHA256 != a.SHA256 ||
				info.Modified.IsZero() {
				t.Errorf("%+v", info)
			}
		})
	}
}

func TestBigFileGoesInParts(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	s.SetLimits(5<<20, 5<<20)
	content := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content) // never fails
	a, err := s.PutFile(t.Context(), prefix+"big.rpm", write(t, content), rpmflow.KindRPM)
	testkit.Must(t, err)
	got, info := read(t, s, a.Key)
	if !bytes.Equal(got, content) || info.SHA256 != sum(content) || info.ContentType != "application/x-rpm" {
		t.Errorf("%d bytes came back: %+v", len(got), info)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	for name, content := range map[string]string{"build": strings.Repeat("gcc -O2 grüße\n", 10_000), "empty": ""} {
		t.Run(name, func(t *testing.T) {
			file := write(t, []byte(content))
			a, err := s.PutLog(t.Context(), prefix+name+".log.gz", file)
			testkit.Must(t, err)
			stored, info := read(t, s, a.Key)
			zip, err := gzip.NewReader(bytes.NewReader(stored))
			testkit.Must(t, err)
			plain, err := io.ReadAll(zip)
			if err != nil || string(plain) != content {
				t.Errorf("%d bytes came back, want %d; %v", len(plain), len(content), err)
			}
			if a.Kind != rpmflow.KindLog || a.Name != name+".log.gz" || a.SHA256 != sum(stored) ||
				a.Size != int64(len(stored)) ||
				a.ContentType != "text/plain; charset=utf-8" || a.ContentEncoding != "gzip" {
				t.Errorf("%+v", a)
			}
			if info.ContentEncoding != "gzip" || info.ContentType != a.ContentType || info.Size != a.Size ||
				info.SHA256 != a.SHA256 {
				t.Errorf("%+v", info)
			}
			again, err := s.PutLog(t.Context(), prefix+"again.log.gz", file)
			if err != nil || again.SHA256 != a.SHA256 {
				t.Errorf("the same log made other bytes: %+v, %v", again, err)
			}
			left, err := os.ReadDir(filepath.Dir(file))
			if err != nil || len(left) != 1 {
				t.Errorf("left next to the log: %v, %v", left, err)
			}
		})
	}
}

// TestBigLogInBoundedMemory sends a log of 1 GB, most of it a hole, with a part that does not compress.
func TestBigLogInBoundedMemory(t *testing.T) { //nolint:paralleltest // measures memory
	s := open(t, storagetest.Start(t))
	file := filepath.Join(t.TempDir(), "build.log")
	f, err := os.Create(file)
	testkit.Must(t, err)
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{3}), 96<<20); err != nil {
		t.Fatal(err)
	}
	testkit.Must(t, errors.Join(f.Truncate(1<<30), f.Close()))

	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan error, 1)
	go func() {
		a, err := s.PutLog(t.Context(), prefix+"build.log.gz", file)
		if err == nil && a.Size < 96<<20 {
			err = fmt.Errorf("%d bytes stored, want more than 96 MB", a.Size)
		}
		done <- err
	}()
	var peak uint64
	for {
		runtime.ReadMemStats(&now)
		if now.HeapAlloc > before.HeapAlloc {
			peak = max(peak, now.HeapAlloc-before.HeapAlloc)
		}
		select {
		case err := <-done:
			testkit.Must(t, err)
			if peak > 16<<20 {
				t.Errorf("took %d MB of memory", peak>>20)
			}
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	in := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: "x"}, Notes: []string{"a < b"}}
	testkit.Must(t, s.PutJSON(t.Context(), prefix+"build.json", in))
	b, info := read(t, s, prefix+"build.json")
	var out rpmflow.Build
	if err := json.Unmarshal(b, &out); err != nil || out.ID != "x" || !bytes.Contains(b, []byte("a < b")) {
		t.Errorf("%s, %v", b, err)
	}
	if info.ContentType != "application/json" || info.SHA256 != sum(b) {
		t.Errorf("%+v", info)
	}
	if err := s.PutJSON(t.Context(), prefix+"bad.json", make(chan int)); err == nil {
		t.Error("a channel became JSON")
	}
}

func TestRestartAndKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg, g := storagetest.StartIn(t, dir)
	want := []byte("kept")
	for _, end := range []func() error{g.Close, nil} {
		s := open(t, cfg)
		key := prefix + cfg.Endpoint[len("http://"):]
		a, err := s.PutFile(t.Context(), key, write(t, want), rpmflow.KindRPM)
		testkit.Must(t, err)
		if end == nil {
			end = func() error {
				defer func() { <-g.Done() }()
				return syscall.Kill(g.Pid(), syscall.SIGKILL)
			}
		}
		testkit.Must(t, end())
		_, _, err = s.Open(t.Context(), key)
		if !storage.Temporary(err) || errors.Is(err, storage.ErrRefused) || !strings.Contains(err.Error(), key) {
			t.Errorf("read from a storage that is gone: %v, want something temporary", err)
		}
		cfg, g = storagetest.StartIn(t, dir)
		got, info := read(t, open(t, cfg), key)
		if !bytes.Equal(got, want) || info.SHA256 != a.SHA256 || info.ContentType != a.ContentType {
			t.Errorf("after the restart: %q %+v", got, info)
		}
	}
}

func TestLocalFilesThatAreNotStored(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	dir := t.TempDir()
	secret := write(t, []byte("secret"))
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	testkit.Must(t, errors.Join(os.Symlink(secret, link), syscall.Mkfifo(pipe, 0o600)))
	for _, file := range []string{link, pipe, dir, filepath.Join(dir, "missing")} {
		if _, err := s.PutFile(t.Context(), prefix+"x", file, rpmflow.KindRPM); err == nil {
			t.Errorf("PutFile stored %s", file)
		}
		if _, err := s.PutLog(t.Context(), prefix+"x", file); err == nil {
			t.Errorf("PutLog stored %s", file)
		}
	}
	if _, err := s.PutFile(t.Context(), prefix+"x", secret, "movie"); err == nil {
		t.Error("a movie was stored")
	}
	if _, _, err := s.Open(t.Context(), prefix+"x"); !errors.Is(err, storage.ErrNotFound) || storage.Temporary(err) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := write(t, []byte("x"))
	_, e1 := s.PutFile(ctx, prefix+"x", file, rpmflow.KindRPM)
	_, e2 := s.PutLog(ctx, prefix+"x", file)
	_, _, e3 := s.Open(ctx, prefix+"x")
	for i, err := range []error{e1, e2, e3, s.PutJSON(ctx, prefix+"x", 1), s.Healthy(ctx), s.Ensure(ctx)} {
		if !errors.Is(err, context.Canceled) || storage.Temporary(err) {
			t.Errorf("%d: %v, want context.Canceled, and nothing temporary", i, err)
		}
	}
}
