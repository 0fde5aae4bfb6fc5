package repo

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how metadata are compressed.
type Compression string

// What clients read: zstd from dnf of EL 8.4 on, Fedora, openSUSE; gzip all.
const (
	Zstd Compression = "zstd"
	Gzip Compression = "gzip"
)

func (c Compression) suffix() string {
	if c == Gzip {
		return ".gz"
	}
	return ".zst"
}

// codec makes and opens frames. Frames may follow one another: the result is a file whose content is theirs in turn.
type codec struct {
	gzip    bool
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// window is how far back a repetition is found: no frame is much larger.
const window = 4 << 20

// maxOpen bounds what a damaged frame can expand to. The largest package in a frame decides how much it really is.
const maxOpen = 1 << 30

func newCodec(c Compression) (*codec, error) {
	switch c {
	case Gzip:
		return &codec{gzip: true}, nil
	case Zstd:
	default:
		return nil, fmt.Errorf("compression %q is neither %q nor %q", c, Zstd, Gzip)
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window),
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxOpen))
	return &codec{encoder: encoder, decoder: decoder}, err
}

func (c *codec) compress(content []byte) ([]byte, error) {
	if !c.gzip {
		return c.encoder.EncodeAll(content, nil), nil
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

func (c *codec) open(frame []byte) ([]byte, error) {
	if !c.gzip {
		return c.decoder.DecodeAll(frame, nil)
	}
	r, err := gzip.NewReader(bytes.NewReader(frame))
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(r, maxOpen+1))
	if err == nil && len(content) > maxOpen {
		err = fmt.Errorf("more than %d bytes", maxOpen)
	}
	return content, err
}
