package git

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMirrors(t *testing.T) *Mirrors { t.Helper(); return mirrorsIn(t, t.TempDir()) }

func mirrorsIn(t *testing.T, dir string) *Mirrors {
	t.Helper()
	m, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), FetchTimeout: time.Minute})
	testkit.Must(t, err)
	return m
}

func request(r *gittest.Repository, commit string) Request {
	return Request{Project: "hello", URL: r.Dir, Ref: "refs/heads/main", Commit: commit}
}

// read returns the content of the file "data" in a commit.
func read(m *Mirrors, req Request) (text string, err error) {
	err = m.Read(context.Background(), req, func(c *Commit) error {
		e, err := c.Find("data")
		if err != nil {
			return err
		}
		content, err := c.Head(e, 1<<30)
		text = string(content)
		return err
	})
	return text, err
}

func mustRead(t *testing.T, m *Mirrors, req Request) string {
	t.Helper()
	text, err := read(m, req)
	testkit.Must(t, err)
	return text
}

// silentServer takes requests and answers none until it hangs up. asked is closed at the first.
func silentServer(t *testing.T) (url string, asked <-chan struct{}, hangUp func()) {
	t.Helper()
	first := make(chan struct{})
	var once sync.Once
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(first) })
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { cancel(); server.Close() })
	return server.URL + "/a", first, cancel
}
