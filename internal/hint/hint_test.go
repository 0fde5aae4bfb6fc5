package hint_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

// own has a hint of its own, which its text does not repeat.
type own struct{ do string }

func (o *own) Error() string  { return "no paper" }
func (o *own) Hinted() string { return o.do }

func TestHint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err            error
		what, do, text string
	}{
		{io.EOF, "EOF", "", "EOF"},
		{hint.Add(io.EOF, "read on"), "EOF", "read on", "EOF: read on"},
		{fmt.Errorf("page 1: %w", hint.Add(io.EOF, "read on")), "page 1: EOF", "read on", "page 1: EOF: read on"},
		{fmt.Errorf("%w (page 1)", hint.Add(io.EOF, "read on")), "EOF: read on (page 1)", "read on",
			"EOF: read on (page 1)"},
		{fmt.Errorf("page 1: %w", &own{"add some"}), "page 1: no paper", "add some", "page 1: no paper: add some"},
		{&own{}, "no paper", "", "no paper"},
		{hint.Add(&own{"add some"}, "print elsewhere"), "no paper", "print elsewhere", "no paper: print elsewhere"},
	} {
		if what, do := hint.Split(tt.err); what != tt.what || do != tt.do || hint.Full(tt.err).Error() != tt.text {
			t.Errorf("%v: %q, %q, %q", tt.err, what, do, hint.Full(tt.err))
		}
	}
	problem := fmt.Errorf("asked: %w", httpd.Problemf(404, "ask again", "no page"))
	if what, do := hint.Split(problem); what != "asked: no page" ||
		do != "ask again" {
		t.Errorf("a problem: %q, %q", what, do)
	}
	if what, do := hint.Split(&rpmflow.Skip{Message: "not for it", Hint: "leave it"}); what != "not for it" ||
		do != "leave it" {
		t.Errorf("a skip: %q, %q", what, do)
	}
	if hint.Full(nil) != nil || hint.Full(io.EOF) != io.EOF {
		t.Error("what needs nothing added is changed")
	}
	if !errors.Is(hint.Add(io.EOF, "x"), io.EOF) {
		t.Error("the cause is lost")
	}
}
