package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/printable"
)

const (
	tarBlock  = 512
	tarRecord = 10240 // git's archives have a whole number of them
	// maxTarSize is the largest size that git writes into a header without an extension.
	maxTarSize = 1<<33 - 1
)

// Entry is an entry of an archive that git has made, with the very bytes of its headers.
type Entry struct {
	*tar.Header
	Content io.Reader
	raw     []byte // all of its headers, the extended ones included
}

// ReadTar calls visit for every entry. What visit leaves of the content is skipped.
func ReadTar(r io.Reader, visit func(e Entry) error) error {
	in := &recorder{r: bufio.NewReaderSize(r, 128<<10)}
	t := tar.NewReader(in)
	padding := 0
	for {
		in.buf.Reset()
		in.on = true
		h, err := t.Next()
		in.on = false
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, in.r) // the padding at the end, which the writer waits to be read
			return err
		}
		if err != nil {
			return err
		}
		raw := in.buf.Bytes()
		if len(raw) < padding+tarBlock {
			return fmt.Errorf("the archive has a header of %d bytes for %s", len(raw)-padding, printable.Name(h.Name))
		}
		raw = raw[padding:]
		if err := visit(Entry{h, t, raw}); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, t); err != nil { //nolint:gosec // it is skipped
			return err
		}
		switch h.Typeflag {
		case tar.TypeReg:
			padding = int(-h.Size & (tarBlock - 1))
		case tar.TypeXGlobalHeader: // its content is among the headers
			padding = -len(raw) & (tarBlock - 1)
		default:
			padding = 0
		}
	}
}

// recorder keeps what is read through it while it is on.
type recorder struct {
	r   io.Reader
	on  bool
	buf bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.on {
		r.buf.Write(p[:n])
	}
	return n, err
}

// TarWriter writes an archive as git does: of entries of other archives, or of files.
type TarWriter struct {
	w    io.Writer
	size int64
}

// NewTarWriter writes to w.
func NewTarWriter(w io.Writer) *TarWriter { return &TarWriter{w: w} }

func (t *TarWriter) write(b []byte) error {
	n, err := t.w.Write(b)
	t.size += int64(n)
	return err
}

// Put copies an entry as it is.
func (t *TarWriter) Put(e Entry) error {
	if err := t.write(e.raw); err != nil {
		return err
	}
	return t.Content(e.Content)
}

// Replace writes an entry with other content, as git would have written it.
func (t *TarWriter) Replace(e Entry, content io.Reader, size int64) error {
	if size > maxTarSize {
		return rpmflow.Fail(rpmflow.FailureSource, "split it", "%s has %d bytes; up to %d can be put into an archive",
			printable.Name(e.Name), size, int64(maxTarSize))
	}
	raw := bytes.Clone(e.raw)
	header := raw[len(raw)-tarBlock:]
	copy(header[124:136], fmt.Sprintf("%011o\x00", size))
	sign(header)
	if err := t.write(raw); err != nil {
		return err
	}
	return t.Content(content)
}

// Content writes what follows a header, with the padding behind it.
func (t *TarWriter) Content(r io.Reader) error {
	n, err := io.Copy(t.w, r)
	t.size += n
	if err != nil {
		return err
	}
	return t.write(make([]byte, -t.size&(tarBlock-1)))
}

// End writes what is behind the last entry.
func (t *TarWriter) End() error {
	pad := tarRecord - t.size%tarRecord
	if pad < 2*tarBlock {
		pad += tarRecord
	}
	return t.write(make([]byte, pad))
}
