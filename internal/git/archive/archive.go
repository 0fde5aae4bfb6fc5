// Package archive writes archives as git archive does, byte for byte, and compresses them so that the same input always
// gives the same bytes. Entries and streams come in, archives and their entries go out. Package git and its working
// trees make archives with it, package source asks which suffixes it knows; it imports nothing of git's.
package archive

import (
	"context"
	"errors"
	"io"

	"github.com/rpmflow/rpmflow"
)

// maxExpansion is how many times larger than Options.MaxSize an archive may be before compression.
const maxExpansion = 16

// Options say what an archive is like, whatever it is made of.
type Options struct {
	Suffix  string // one of Suffixes
	Prefix  string // the directory that all names begin with; "": none
	MaxSize int64  // bytes of the largest file that may be written
}

// Dir is what all names begin with: Prefix with a slash at its end, if there is one.
func (o Options) Dir() string {
	if o.Prefix == "" {
		return ""
	}
	return o.Prefix + "/"
}

// MaxRaw is how many bytes the archive may have before compression.
func (o Options) MaxRaw() int64 { return maxExpansion * o.MaxSize }

// TooLarge is the failure of an archive of something that has more than so many bytes; what says when.
func (o Options) TooLarge(of, what string, most int64) error {
	return rpmflow.Fail(rpmflow.FailureSource,
		"mark what the package does not need with export-ignore in .gitattributes",
		"the archive of %s is larger than %d bytes %s", of, most, what)
}

// Compress compresses what produce writes. of is what the archive is of, for messages.
func (o Options) Compress(ctx context.Context, of string, out io.Writer, produce func(w io.Writer) error) error {
	limited := &LimitedWriter{out, o.MaxSize, o.TooLarge(of, "compressed", o.MaxSize)}
	compressor, err := newCompressor(ctx, limited, o.Suffix)
	if err != nil {
		return err
	}
	err = produce(&LimitedWriter{compressor, o.MaxRaw(), o.TooLarge(of, "before compression", o.MaxRaw())})
	outer := ctx.Err()
	closeErr := compressor.Close()
	// The first error of the chain is the cause; the others follow from it. But a limit that was passed goes before
	// the error that the compressor has made of it.
	switch {
	case limited.Left < 0:
		return limited.Err
	case outer != nil:
		return err
	case err != nil:
		return errors.Join(err, closeErr) // a compressor that has failed says why
	}
	return closeErr
}

// LimitedWriter fails with Err once more than Left bytes are written.
type LimitedWriter struct {
	W    io.Writer
	Left int64
	Err  error
}

func (l *LimitedWriter) Write(b []byte) (int, error) {
	if l.Left -= int64(len(b)); l.Left < 0 {
		return 0, l.Err
	}
	return l.W.Write(b)
}
