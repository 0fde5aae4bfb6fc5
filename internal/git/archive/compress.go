package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	io.WriteCloser
	cmd  *exec.Cmd
	errs bytes.Buffer
}

func newBzip2(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	b := &bzip2{cmd: exec.CommandContext(ctx, "bzip2", "-9", "-c")}
	b.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // not BZIP2, which has options
	b.cmd.Stdout, b.cmd.Stderr = w, &b.errs
	b.cmd.WaitDelay = 5 * time.Second
	var err error
	if b.WriteCloser, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("compressing with bzip2: %w", err)
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("compressing with bzip2; install it on the builder: %w", err)
	}
	return b, nil
}

func (b *bzip2) Close() error {
	if err := errors.Join(b.WriteCloser.Close(), b.cmd.Wait()); err != nil {
		return fmt.Errorf("compressing with bzip2: %w: %s", err, strings.TrimSpace(b.errs.String()))
	}
	return nil
}
