package hook

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/forge"
)

// Messages about a listener do not have the credentials of its URL.
func TestListenerIsShownWithoutCredentials(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://me:hunter2@127.0.0.1:1/hook": "http://127.0.0.1:1/hook",
		"http://hunter2@127.0.0.1:1/hook":    "http://127.0.0.1:1/hook",
		"http://127.0.0.1:1/hook":            "http://127.0.0.1:1/hook",
	} {
		s := newSender(&Repository{URL: url})
		got := s.send(t.Context(), forge.GenericDelivery{})
		s.close()
		if got.verdict != unreachable || !strings.Contains(got.why, want) || strings.Contains(got.why, "hunter2") {
			t.Errorf("%s: %+v", url, got)
		}
	}
}
