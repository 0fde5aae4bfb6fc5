package publisher

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
)

func TestWholeID(t *testing.T) {
	t.Parallel()
	s := &repo.State{Frames: []repo.Frame{{Entries: []repo.Entry{
		{Origin: repo.Origin{Build: "6f1c22be-1"}}, {Origin: repo.Origin{Build: "6f1c22be-1"}},
		{Origin: repo.Origin{Build: "6f1c0000-2"}}, {Origin: repo.Origin{Build: "6f1c0000-22"}},
	}}}}
	for written, want := range map[string]string{
		"6f1c22be": "6f1c22be-1", "6f1c2": "6f1c22be-1", "6f1c0000-2": "6f1c0000-2", "abcd": "abcd",
		"": "", "6f1": "6f1", "6f1c22be-1x": "6f1c22be-1x",
	} {
		if got, err := wholeID(s, written); err != nil || got != want {
			t.Errorf("%q: %q %v", written, got, err)
		}
	}
	_, err := wholeID(s, "6f1c")
	_, which := hint.Split(err)
	if err == nil || !strings.Contains(err.Error(), "3 builds") || !strings.Contains(which, "6f1c22be-1, 6f1c0000-2") {
		t.Errorf("an ambiguous one: %v", err)
	}
}
