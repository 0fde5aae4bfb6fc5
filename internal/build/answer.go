package build

import (
	"bytes"

	"github.com/rpmflow/rpmflow"
)

// maxAnswer bounds what a spec may expand to.
const maxAnswer = 16 << 20

// Answer takes what rpm prints about a spec, and refuses what is longer than any spec expands to: engines give it to
// Query's rpmspec as its standard output.
type Answer struct {
	text bytes.Buffer
	over bool
}

// Write implements io.Writer.
func (a *Answer) Write(p []byte) (int, error) {
	if a.over = a.over || a.text.Len()+len(p) > maxAnswer; a.over {
		return 0, a.refusal()
	}
	return a.text.Write(p)
}

// Text is the answer of a rpmspec that ended with err.
func (a *Answer) Text(err error) ([]byte, error) {
	if a.over { // rpmspec failed because its output was cut off
		err = a.refusal()
	}
	if err != nil {
		return nil, err
	}
	return a.text.Bytes(), nil
}

func (a *Answer) refusal() error {
	return rpmflow.Fail(rpmflow.FailureSpec, "look for a macro that repeats itself",
		"the spec expands to more than %d bytes", maxAnswer)
}
