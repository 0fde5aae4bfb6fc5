package images

import (
	"maps"
	"testing"
	"time"
)

// A root that takes longer to make than max_age allows is good for the build that waited for it, and for no later one.
func TestHowOldARootMayBe(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, c := range []struct {
		name    string
		checked time.Time
		began   time.Time // zero: made ahead of builds
		good    bool
	}{
		{"compared lately", ago(30 * time.Second), ago(time.Second), true},
		{"compared long ago", ago(2 * time.Minute), ago(time.Second), false},
		{"compared since the build began", ago(5 * time.Minute).Truncate(time.Second), ago(5 * time.Minute), true},
		{"compared before the build began", ago(5 * time.Minute), ago(4 * time.Minute), false},
		{"ahead of builds", ago(2 * time.Minute), time.Time{}, false},
		{"a clock that was set back", ago(-2 * time.Minute), time.Time{}, false},
	} {
		began := &c.began
		if c.began.IsZero() {
			began = nil
		}
		if got := (Image{Time: c.checked}).CheckedWithin(time.Minute, began); got != c.good {
			t.Errorf("%s: good %v, want %v", c.name, got, c.good)
		}
	}
}

// Names, keys and labels stay: builders of several versions share an engine, and an upgrade must find the images that
// exist.
func TestNamesAndLabelsStay(t *testing.T) {
	t.Parallel()
	s := New(nil, Settings{Installation: "inst"})
	now := time.Unix(1700000000, 0)
	if name := nameOf(Root, s.RootKey("config"), now); name != "rpmflow/root:"+s.RootKey("config")+"-1700000000" {
		t.Error(name)
	}
	if name := s.LockName("KEY"); name != "rpmflow-inst-KEY" {
		t.Error(name)
	}
	if name := s.volumeOf("fedora-42-x86_64"); name != "rpmflow-inst-packages-6552d4a292bf6f8df5ba113af1ad4f1f" {
		t.Error(name)
	}
	root := NewRoot("key", now, RootFacts{MockImage: "sha256:1", Config: "c", Repositories: map[string]string{"r": "2",
		"a": "1"}, ByName: true})
	want := map[string]string{
		"dev.rpmflow.mock-image": "sha256:1", "dev.rpmflow.config": "c",
		"dev.rpmflow.repositories": `{"a":"1","r":"2"}`,
		"dev.rpmflow.by-name":      "true",
	}
	if !maps.Equal(root.labels, want) {
		t.Errorf("%v", root.labels)
	}
	root.ID, root.labels[labelKind] = "sha256:3", string(Root)
	want["dev.rpmflow.kind"], want["dev.rpmflow.root"] = "rpmflow/root", "sha256:3"
	if deps := root.With("key", now); !maps.Equal(deps.labels, want) {
		t.Errorf("%v", deps.labels)
	}
}
