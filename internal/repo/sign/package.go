package sign

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// ErrDamaged means that a package is not what the digests in its headers say.
var ErrDamaged = errors.New("the package is damaged")

// pkg is a package of which all but the payload was read.
type pkg struct {
	lead      []byte
	signature []entry
	header    []byte // as it stands in the file: what is signed
	payload   []byte // the SHA-256 that the payload must have; nil if the header does not say
	v6        bool
}

// open reads a package up to its payload, and compares the header with its digests. What is not a package is an
// rpmfile.ErrNotRPM.
func open(r io.Reader) (*pkg, error) {
	head, err := rpmfile.ReadHead(r)
	if err != nil {
		return nil, err
	}
	p := &pkg{lead: head.Lead, header: head.Header}
	if p.signature, err = parse(head.Signature, tagSignatures); err != nil {
		return nil, fmt.Errorf("%w: signature header: %w", rpmfile.ErrNotRPM, err)
	}
	for tag, sum := range headerDigests() {
		if want, ok := find(p.signature, tag); ok {
			h := sum()
			h.Write(p.header)
			if got := hex.EncodeToString(h.Sum(nil)); len(want.texts()) != 1 || want.texts()[0] != got {
				return nil, fmt.Errorf("%w: its header does not have the digest that is stored with it", ErrDamaged)
			}
		}
	}
	entries, err := parse(head.Header, tagImmutable)
	if err != nil {
		return nil, fmt.Errorf("%w: header: %w", rpmfile.ErrNotRPM, err)
	}
	if e, ok := find(entries, tagPayloadDigest); ok {
		texts := e.texts()
		if len(texts) == 1 {
			p.payload, err = hex.DecodeString(texts[0])
		}
		if err != nil || len(p.payload) != sha256.Size {
			return nil, fmt.Errorf("%w: header: the payload's digest is not a SHA-256", rpmfile.ErrNotRPM)
		}
	}
	if e, ok := find(entries, tagFormat); ok && e.kind == typeInt32 {
		p.v6 = binary.BigEndian.Uint32(e.data) >= 6
	}
	return p, nil
}

// headerDigests are the digests of the header, by the tags that have them, as far as they are safe.
func headerDigests() map[uint32]func() hash.Hash {
	return map[uint32]func() hash.Hash{tagSHA256: sha256.New, tagSHA3: func() hash.Hash { return sha3.New256() }}
}

// copyPayload copies the payload and compares it with its digest.
func (p *pkg) copyPayload(w io.Writer, payload io.Reader) (int64, error) {
	if p.payload == nil {
		return io.Copy(w, payload)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), payload)
	if err == nil && !bytes.Equal(h.Sum(nil), p.payload) {
		err = fmt.Errorf("%w: its payload does not have the digest that its header has", ErrDamaged)
	}
	return n, err
}
