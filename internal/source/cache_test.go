package source

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// server serves files by their paths and counts who asks for what.
type server struct {
	url   string
	mu    sync.Mutex
	files map[string]string
	asked []string
}

func newServer(t *testing.T) *server {
	s := &server{files: map[string]string{}}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.URL.Path)
		text, ok := s.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

func (s *server) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	slices.Sort(asked)
	return strings.Join(asked, " ")
}

// fakeCache is a cache on disk, with what a builder could meet: it may be out of reach, or damaged.
type fakeCache struct {
	dir string
	err error
	mu  sync.Mutex
	by  map[string]rpmflow.SourceFile
}

func (c *fakeCache) Find(_ context.Context, id string) (rpmflow.SourceFile, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.by[id]
	return f, ok, c.err
}

func (c *fakeCache) Record(_ context.Context, id string, f rpmflow.SourceFile) (rpmflow.SourceFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.by[id].SHA512 == "" {
		c.by[id] = f
	}
	return c.by[id], c.err
}

func (c *fakeCache) Open(_ context.Context, sha512, name string) (io.ReadCloser, bool, error) {
	f, err := os.Open(filepath.Join(c.dir, sha512+"-"+name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, c.err
	}
	return f, true, errors.Join(c.err, err)
}

func (c *fakeCache) Keep(_ context.Context, sha512, name, file string) error {
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, sha512+"-"+name), text, 0o600)
	}
	return errors.Join(c.err, err)
}

// withCache is a store that may download from this machine; its cache is its own.
func withCache(t *testing.T) (*Store, *fakeCache) {
	t.Helper()
	c := &fakeCache{dir: t.TempDir(), by: map[string]rpmflow.SourceFile{}}
	s, err := Open(Options{
		Dir: filepath.Join(t.TempDir(), "mirrors"), Logger: slog.New(slog.DiscardHandler), Allow: []string{"127.0.0.1"},
		Cache: c, MaxFile: 1 << 20,
	})
	testkit.Must(t, err)
	t.Cleanup(s.Close)
	return s, c
}

const tarball = "a tarball"

func sha(text string) string { return fmt.Sprintf("%x", sha512.Sum512([]byte(text))) }

func bsd(name, text string) string { return fmt.Sprintf("SHA512 (%s) = %s\n", name, sha(text)) }
