package git

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/rpmflow/rpmflow"
)

const (
	tarBlock  = 512
	tarRecord = 10240 // git's archives have a whole number of them
	// maxTarSize is the largest size that git writes into a header without an extension.
	maxTarSize = 1<<33 - 1
)

// tarEntry is an entry of an archive that git has made, with the very bytes of its headers.
type tarEntry struct {
	*tar.Header
	raw     []byte // all of its headers, the extended ones included
	content io.Reader
}

// readTar calls visit for every entry. What visit leaves of the content is skipped.
func readTar(r io.Reader, visit func(e tarEntry) error) error {
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
			return fmt.Errorf("the archive has a header of %d bytes for %s", len(raw)-padding, show(h.Name))
		}
		raw = raw[padding:]
		if err := visit(tarEntry{h, raw, t}); err != nil {
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

// tarWriter puts an archive together out of entries of others.
type tarWriter struct {
	w    io.Writer
	size int64
}

func (t *tarWriter) write(b []byte) error {
	n, err := t.w.Write(b)
	t.size += int64(n)
	return err
}

// put copies an entry as it is.
func (t *tarWriter) put(e tarEntry) error {
	if err := t.write(e.raw); err != nil {
		return err
	}
	return t.content(e.content)
}

// replace writes an entry with other content, as git would have written it.
func (t *tarWriter) replace(e tarEntry, content io.Reader, size int64) error {
	if size > maxTarSize {
		return rpmflow.Fail(rpmflow.FailureSource, "split it", "%s has %d bytes; up to %d can be put into an archive",
			show(e.Name), size, int64(maxTarSize))
	}
	raw := bytes.Clone(e.raw)
	header := raw[len(raw)-tarBlock:]
	copy(header[124:136], fmt.Sprintf("%011o\x00", size))
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%07o\x00", sum))
	if err := t.write(raw); err != nil {
		return err
	}
	return t.content(content)
}

func (t *tarWriter) content(r io.Reader) error {
	n, err := io.Copy(t.w, r)
	t.size += n
	if err != nil {
		return err
	}
	return t.write(make([]byte, -t.size&(tarBlock-1)))
}

// end writes what is behind the last entry.
func (t *tarWriter) end() error {
	pad := tarRecord - t.size%tarRecord
	if pad < 2*tarBlock {
		pad += tarRecord
	}
	return t.write(make([]byte, pad))
}
