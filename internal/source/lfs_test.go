package source

import (
	"crypto/sha256"
	"encoding/json"
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
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// lfsHost is a git server with Git LFS that answers nothing but what git-lfs would ask, and refuses all else.
type lfsHost struct {
	t       *testing.T
	url     string
	token   string // "": everybody may
	mu      sync.Mutex
	objects map[string]string // by OID
	batches []string          // paths of the batches that were asked for
	asked   []string          // objects that were downloaded
	wrong   []string          // what git-lfs would not have done
	// change lets a test spoil an answer.
	change func(o map[string]any)
	busy   int // so many requests are answered 503
	stale  int // so many downloads are answered 403
}

func newLFSHost(t *testing.T, repositories, token string) *lfsHost {
	t.Helper()
	git := gittest.Backend(t, repositories)
	h := &lfsHost{t: t, token: token, objects: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case strings.HasPrefix(r.URL.Path, "/objects/"):
			h.download(w, r)
		case password != h.token:
			http.Error(w, "who are you?", http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, ".git/info/lfs/objects/batch"):
			h.batch(w, r)
		case strings.Contains(r.URL.Path, "/info/lfs"):
			h.complain("%s %s", r.Method, r.URL.Path)
			http.NotFound(w, r)
		default:
			git.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		if len(h.wrong) > 0 {
			t.Errorf("the server was asked what git-lfs would not ask: %q", h.wrong)
		}
	})
	h.url = server.URL
	return h
}

func (h *lfsHost) complain(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

func (h *lfsHost) batch(w http.ResponseWriter, r *http.Request) {
	const kind = "application/vnd.git-lfs+json"
	var q struct {
		Operation string
		Transfers []string
		HashAlgo  string `json:"hash_algo"`
		Ref       *struct{ Name string }
		Objects   []struct {
			OID  string
			Size int64
		}
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || r.Method != http.MethodPost || r.Header.Get("Accept") != kind ||
		r.Header.Get("Content-Type") != kind || q.Operation != "download" ||
		!slices.Contains(q.Transfers, "basic") || q.HashAlgo != "sha256" || len(q.Objects) == 0 ||
		len(q.Objects) > 100 ||
		q.Ref != nil && !strings.HasPrefix(q.Ref.Name, "refs/") {
		h.complain("%s %s: %v, %+v, %v", r.Method, r.URL.Path, err, q, r.Header)
		http.Error(w, "no", http.StatusUnprocessableEntity)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batches = append(h.batches, r.URL.Path)
	if h.busy > 0 {
		h.busy--
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	var objects []map[string]any
	for _, o := range q.Objects {
		said := map[string]any{"oid": o.OID, "size": o.Size, "authenticated": true}
		if text, ok := h.objects[o.OID]; !ok {
			said["error"] = map[string]any{"code": 404, "message": "Object does not exist"}
		} else if int64(len(text)) != o.Size && h.change == nil {
			h.wrong = append(h.wrong, fmt.Sprintf("size %d of %s", o.Size, o.OID))
		} else {
			said["actions"] = map[string]any{"download": map[string]any{"href": h.url + "/objects/" + o.OID +
				"?signature=s3cret", "header": map[string]any{"X-Let-Me-In": "please"}, "expires_in": 3600}}
		}
		if h.change != nil {
			h.change(said)
		}
		objects = append(objects, said)
	}
	w.Header().Set("Content-Type", kind)
	_ = json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": objects})
}

func (h *lfsHost) download(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oid := strings.TrimPrefix(r.URL.Path, "/objects/")
	if r.Method != http.MethodGet || r.Header.Get("X-Let-Me-In") != "please" || r.Header.Get("Authorization") != "" ||
		r.URL.Query().Get("signature") != "s3cret" {
		h.wrong = append(h.wrong, fmt.Sprintf("%s %s: %v", r.Method, r.URL, r.Header))
	}
	if h.stale > 0 {
		h.stale--
		http.Error(w, "expired", http.StatusForbidden)
		return
	}
	h.asked = append(h.asked, oid)
	_, _ = io.WriteString(w, h.objects[oid])
}

// keep stores a file as git lfs push does, and returns its pointer.
func (h *lfsHost) keep(text string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.objects[oidOf(text)] = text
	return pointerTo(text)
}

// took is what was asked for since the last time.
func (h *lfsHost) took() (batches, objects int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	batches, objects = len(h.batches), len(h.asked)
	h.batches, h.asked = nil, nil
	return batches, objects
}

func oidOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func pointerTo(text string) string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oidOf(text), len(text))
}

// smudgedArchive is what git archive makes where git-lfs is its filter, for which a shell stands in.
func smudgedArchive(t *testing.T, w *gittest.Repository, commit, prefix string, objects map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for oid, text := range objects {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, oid), []byte(text), 0o600))
	}
	out := filepath.Join(dir, "want.tar")
	w.Git("-c", "filter.lfs.required=true", "-c", "filter.lfs.smudge=cd '"+dir+"' && cat >in && oid=$(sed -n 's/^oid "+
		"sha256://p' in) && if [ -n \"$oid\" ]; then cat $oid; else cat in; "+
		"fi", "archive", "--prefix="+prefix, "--output="+out, commit)
	return content(t, out)
}

func lfsStore(t *testing.T, h *lfsHost, allow ...string) *Store {
	t.Helper()
	s, err := Open(Options{
		Dir: filepath.Join(t.TempDir(), "mirrors"), Logger: slog.New(slog.DiscardHandler),
		Cache: &fakeCache{dir: t.TempDir(),
			by: map[string]rpmflow.SourceFile{}}, MaxFile: 1 << 20, Allow: allow,
		Access: func(giturl.URL) git.Access { return git.Access{Token: h.token} },
	})
	testkit.Must(t, err)
	s.client.Pause = 1
	t.Cleanup(s.Close)
	return s
}

const lfsAttributes = "*.bin filter=lfs diff=lfs merge=lfs -text\nsecret export-ignore\n"

func TestLFSArchive(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	h := newLFSHost(t, filepath.Dir(w.Dir), "tok-en")
	files := inTree("Name: hello\n")
	files[".gitattributes"] = lfsAttributes
	long := strings.Repeat("d", 90) + "/" + strings.Repeat("e", 90) + "/" + strings.Repeat("f", 120) + ".bin"
	files["a.bin"], files["again/a.bin"], files["run.bin"], files[long] = h.keep("a"), h.keep("a"),
		h.keep("#!/bin/sh\n"+
			""), h.keep(strings.Repeat("block of 16 byte", 32*100))
	for i := range 120 { // more than one batch
		files[fmt.Sprintf("many/%d.bin", i)] = h.keep(fmt.Sprint("content ", i))
	}
	files["plain.bin"] = "committed before git lfs track"
	files["pointer.txt"] = pointerTo("text for git, too")
	files["secret/x.bin"] = pointerTo("not on the server")
	w.Commit(files)
	testkit.Must(t, os.Chmod(filepath.Join(w.Dir, "run.bin"), 0o755))
	commit := w.Commit(nil)
	want := smudgedArchive(t, w, commit, "hello-1.0/", h.objects)
	req := Request{Project: "hello", URL: h.url + "/hello/.git", Ref: "refs/heads/main", Commit: commit,
		Sources: rpmflow.Sources{LFS: true}}
	s := lfsStore(t, h)
	for i := range 2 {
		p := prepare(t, s, req)
		testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
		if got := content(t, filepath.Join(p.Sources, "x.tar")); got != want {
			t.Error("the archive is not what git makes with git-lfs")
		}
		batches, asked := h.took()
		if i == 0 && (batches < 2 || batches > 4 || asked != 123) || i == 1 && batches+asked != 0 {
			t.Errorf("round %d: %d batches, %d objects", i, batches, asked)
		}
		if left := names(t, filepath.Dir(p.Sources)); left != "SOURCES SPECS" ||
			names(t, p.Sources) != "a.patch x.tar" {
			t.Errorf("left behind: %s, %s", left, names(t, p.Sources))
		}
	}
	// Without the setting it is refused as before.
	req.Sources.LFS = false
	err := finish(t.Context(), prepare(t, s, req), []byte(archiveSpec))
	failtest.Want(t, err, rpmflow.FailureSource, "Git LFS pointers", "a.bin", "lfs: true")
	req.Sources.LFS = true
	err = finish(t.Context(), prepare(t, s, req), []byte(strings.ReplaceAll(archiveSpec, "x.tar", "x.zip")))
	failtest.Want(t, err, rpmflow.FailureSource, "a.bin", ".tar.gz")
}
