package archive

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// lzip writes the format of that name (https://www.nongnu.org/lzip/manual/lzip_manual.html#File-format): one member,
// which is a header, an LZMA stream with an end marker, and a trailer.
type lzip struct {
	w      io.Writer
	stream *lzma.Writer
	sum    hash.Hash32
	size   uint64 // of the content
	member uint64 // bytes written so far
	skip   int    // what is left of LZMA's header, which lzip does not have
}

const (
	lzmaHeader    = 13 // bytes
	lzipDictBits  = 23
	lzipTrailerSz = 20
)

func newLzip(w io.Writer) (io.WriteCloser, error) {
	l := &lzip{w: w, sum: crc32.NewIEEE(), skip: lzmaHeader}
	if err := l.emit([]byte{'L', 'Z', 'I', 'P', 1, lzipDictBits}); err != nil {
		return nil, err
	}
	var err error
	config := lzma.WriterConfig{
		Properties: &lzma.Properties{LC: 3, LP: 0, PB: 2},
		DictCap:    1 << lzipDictBits,
		EOSMarker:  true,
	}
	if l.stream, err = config.NewWriter(lzipStream{l}); err != nil {
		return nil, fmt.Errorf("compressing with lzip: %w", err)
	}
	return l, nil
}

func (l *lzip) Write(b []byte) (int, error) {
	n, err := l.stream.Write(b)
	_, _ = l.sum.Write(b[:n]) // a hash returns no error
	l.size += uint64(n)
	return n, err
}

func (l *lzip) Close() error {
	if err := l.stream.Close(); err != nil {
		return err
	}
	trailer := binary.LittleEndian.AppendUint32(nil, l.sum.Sum32())
	trailer = binary.LittleEndian.AppendUint64(trailer, l.size)
	trailer = binary.LittleEndian.AppendUint64(trailer, l.member+lzipTrailerSz)
	return l.emit(trailer)
}

func (l *lzip) emit(b []byte) error {
	n, err := l.w.Write(b)
	l.member += uint64(n)
	return err
}

// lzipStream takes the LZMA stream and drops its header.
type lzipStream struct{ *lzip }

func (s lzipStream) Write(b []byte) (int, error) {
	dropped := min(s.skip, len(b))
	s.lzip.skip -= dropped
	if err := s.emit(b[dropped:]); err != nil {
		return 0, err
	}
	return len(b), nil
}
