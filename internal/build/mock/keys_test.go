package mock

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Keys stay, so that an upgrade finds the images that exist: with other ones all builders make all roots and
// dependencies again. A change here needs a line in CHANGELOG.md.
func TestKeysStay(t *testing.T) {
	t.Parallel()
	target := rpmflow.Target{Name: "fedora-42-x86_64", Arch: "x86_64", Config: "fedora-42-x86_64",
		Image: "rpmflow/mock:latest"}
	srpm := filepath.Join(t.TempDir(), "hello-1.0-1.src.rpm")
	testkit.Must(t, os.WriteFile(srpm, enginetest.Package("hello", "src"), 0o600))
	e := open(t, Settings{})
	e.images = images.New(nil, images.Settings{Installation: "inst"})
	for _, c := range []struct {
		name         string
		options      rpmflow.Options
		own          string // the revision that is published
		root, byName string
		dependencies string
	}{
		{"plain", rpmflow.Options{}, "", "d8ba9044ff0ccb99e89a33035f7515e3", "74dc8e93c2ab8c3b39130ded9372fef8",
			"084e213e4d60925f2b6f416ea3d5da46"},
		{"options of mock", rpmflow.Options{MockOptions: []rpmflow.MockOption{{Key: "nosync", Value: "true"}}},
			"", "3bc5494ae4a09151b034974a8145e16e",
			"74dc8e93c2ab8c3b39130ded9372fef8", "084e213e4d60925f2b6f416ea3d5da46"},
		{"repositories", rpmflow.Options{Repositories: []rpmflow.Repo{{URL: "https://r/"}}}, "",
			"d8ba9044ff0ccb99e89a33035f7515e3", "9f8de1e5536179edbb0240f3d0ac53cc", "e541684d8fd3d2663cb09c24ddf905e0"},
		{"a revision", rpmflow.Options{}, "https://r/p/t/r/1-01234567/", "d8ba9044ff0ccb99e89a33035f7515e3",
			"7d5c77b86d440dc0b97dd028396e4d7b", "8dd2de802724265a28d7f549d9fe2790"},
		{"another revision", rpmflow.Options{}, "https://r/p/t/r/2-01234567/", "d8ba9044ff0ccb99e89a33035f7515e3",
			"f17d4f35972da0a6ae68a3e481831111", "8e1244b15eb1aa864c6adec8840790a1"},
	} {
		config, err := configuration(target, c.options, time.Unix(1700000000, 0))
		testkit.Must(t, err)
		b := rpmflow.Build{
			BuildRequest: rpmflow.BuildRequest{Project: "p", Package: "k", Options: c.options},
			BuildAttempt: rpmflow.BuildAttempt{OwnRepository: c.own},
		}
		config.repositories = repositoryFiles(b, "")
		s := &session{e: e, job: build.Job{Target: target, Build: b}, image: "sha256:1234", config: config}
		if key := s.rootKey(); key != c.root {
			t.Errorf("%s: root %s, was %s", c.name, key, c.root)
		}
		for byName, want := range map[bool]string{false: c.dependencies, true: c.byName} {
			from := images.NewRoot("", time.Time{}, images.RootFacts{ByName: byName})
			from.ID = "sha256:abcd"
			r, err := s.requirements(srpm, from)
			testkit.Must(t, err)
			if key := e.images.DependenciesKey(from, r); key != want {
				t.Errorf("%s: dependencies %s, was %s", c.name, key, want)
			}
		}
	}
}
