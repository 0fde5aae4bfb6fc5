package git

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Suffixes are those of the archives that can be made. rpm reads more: gems, 7z, lrzip and compress have no writer in
// Go.
func Suffixes() []string {
	return []string{".tar", ".tar.gz", ".tgz", ".crate", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz", ".tb2",
		".tar.zst", ".tzst", ".tar.lz", ".tlz", ".tar.lzma", ".zip"}
}

// SuffixOf is the one of an archive's name, "" for an archive that cannot be made.
func SuffixOf(name string) string {
	lower := strings.ToLower(name)
	for _, c := range Suffixes() {
		if strings.HasSuffix(lower, c) && lower != c {
			return c
		}
	}
	return ""
}

// newCompressor compresses to w so that the same input always gives the same bytes: no times, no names, one thread.
func newCompressor(ctx context.Context, w io.Writer, suffix string) (io.WriteCloser, error) {
	switch suffix {
	case ".tar.gz", ".tgz", ".crate":
		z := gzip.NewWriter(w)
		z.ModTime = time.Unix(0, 0) // which stands for no time; the zero time would be a day in 2042
		return z, nil
	case ".tar.xz", ".txz":
		z, err := xz.NewWriter(w)
		if err != nil {
			return nil, fmt.Errorf("compressing with xz: %w", err)
		}
		return z, nil
	case ".tar.zst", ".tzst":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("compressing with zstd: %w", err)
		}
		return z, nil
	case ".tar.bz2", ".tbz2", ".tbz", ".tb2":
		return newBzip2(ctx, w)
	case ".tar.lz", ".tlz":
		return newLzip(w)
	case ".tar.lzma":
		z, err := lzma.NewWriter(w)
		if err != nil {
			return nil, fmt.Errorf("compressing with lzma: %w", err)
		}
		return z, nil
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// bzip2 is the command of that name: there is no such compressor for Go.
type bzip2 struct {
	io.Writer
	in   io.Closer
	cmd  *exec.Cmd
	errs tail
}

func newBzip2(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	b := &bzip2{cmd: exec.CommandContext(ctx, "bzip2", "-9", "-c"), errs: tail{max: 4 << 10}}
	b.cmd.Env, b.cmd.Stdout, b.cmd.Stderr = childEnv(), w, &b.errs
	b.cmd.WaitDelay = gitCommand(ctx).WaitDelay
	in, err := b.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("compressing with bzip2: %w", err)
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("compressing with bzip2; install it on the builder: %w", err)
	}
	b.Writer, b.in = in, in
	return b, nil
}

func (b *bzip2) Close() error {
	err := errors.Join(b.in.Close(), b.cmd.Wait())
	if err != nil {
		return fmt.Errorf("compressing with bzip2: %w: %s", err, strings.TrimSpace(string(b.errs.buf)))
	}
	return nil
}

// limitedWriter fails with err once more than left bytes are written.
type limitedWriter struct {
	w    io.Writer
	left int64
	err  error
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, l.err
	}
	return l.w.Write(b)
}
