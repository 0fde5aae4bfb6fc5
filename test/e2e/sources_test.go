package e2e_test

import (
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/test/system"
)

// A dist-git repository's tarball comes from a lookaside, is kept in the storage, and is not asked for again.
func TestAPushWithALookaside(t *testing.T) {
	t.Parallel()
	files := standard(t)
	sum := sha512.Sum512([]byte(files["greet-1.2.tar.gz"]))
	digest := hex.EncodeToString(sum[:])
	var asked atomic.Int32
	lookaside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/greet/greet-1.2.tar.gz/sha512/"+digest+"/greet-1.2.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(files["greet-1.2.tar.gz"]))
	}))
	defer lookaside.Close()

	repo := system.NewRepository(t)
	s := system.StartWith(t, "rpmbuild", "  allow_addresses: [127.0.0.1]\n",
		repo.Project("greet", "  lookaside: "+lookaside.URL+"/{name}/{file}/{hashtype}/{hash}/{file}\n"))
	repo.Announce(t, s, "greet")
	push := func(list string) rpmflow.Build {
		t.Helper()
		repo.Push(t, map[string]string{"greet.spec": greetSpec, "notes.txt": notes, "sources": list})
		return s.Finished(t).Build
	}
	list := "SHA512 (greet-1.2.tar.gz) = " + digest + "\n"
	for _, origin := range []rpmflow.Origin{rpmflow.OriginLookaside, rpmflow.OriginCache} {
		b := push(list)
		if b.Outcome.Result != rpmflow.Succeeded || b.Layout != rpmflow.LayoutDistGit {
			t.Fatalf("layout %s: %+v\n%s", b.Layout, b.Outcome, system.FetchLog(t, s, b))
		}
		if len(b.SourceFiles) != 1 || b.SourceFiles[0].SHA512 != digest || b.SourceFiles[0].Origin != origin ||
			b.SourceFiles[0].Name != "greet-1.2.tar.gz" {
			t.Errorf("recorded %+v, want it from the %s", b.SourceFiles, origin)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the lookaside was asked %d times", n)
	}
	b := push(strings.Replace(list, digest[:4], "0000", 1))
	if o := b.Outcome; o.Kind != rpmflow.FailureSource || o.Phase != rpmflow.PhaseSources ||
		!strings.Contains(o.Message, "404 Not Found") || b.Attempt != 1 {
		t.Errorf("what the lookaside does not have: attempt %d, %+v", b.Attempt, o)
	}
}
