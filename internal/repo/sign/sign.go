// Package sign makes and checks the OpenPGP signatures of a dnf repository: those in packages, and those of repomd.xml.
//
// In come packages as streams and keys as text, files or commands; out go packages with signatures in their headers,
// armored signatures, and errors that say what to do. It knows nothing of storage and of builds, imports leaf libraries
// only, and is for the publisher and the commands about repositories.
package sign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Signer signs with one key, and has the public halves of others, which clients are to trust as well.
//
// Nothing is signed with two keys: clients read one signature of metadata, packages of version 4 can have one, and rpm
// 6 refuses a package as long as it lacks the key of any of its signatures.
type Signer struct{ keys []*Key }

// NewSigner takes the key that signs, and those that signed before it or will sign after it.
func NewSigner(keys ...*Key) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("the signing key is missing")
	}
	return &Signer{keys}, nil
}

// Keys are the keys, of which the first one signs.
func (s *Signer) Keys() []*Key { return s.keys }

// Keyring is the public halves of all keys.
func (s *Signer) Keyring() Keyring {
	var r Keyring
	for _, k := range s.keys {
		r.keys = append(r.keys, k.entity)
	}
	return r
}

// Public is the armored public halves of the keys, for rpm --import and gpgkey=. Those that are over are left out: rpm
// refuses to import them, and dnf then installs nothing.
func (s *Signer) Public() ([]byte, error) {
	var all []byte
	var there []string
	for _, k := range s.keys {
		if k.over(time.Now()) || slices.Contains(there, k.Fingerprint()) {
			continue
		}
		there = append(there, k.Fingerprint())
		public, err := k.Public()
		if err != nil {
			return nil, err
		}
		all = append(all, public...)
	}
	return all, nil
}

// Detached makes the armored signature of a file.
func (s *Signer) Detached(ctx context.Context, file []byte) ([]byte, error) {
	raw, _, err := s.keys[0].sign(ctx, inMemory(file))
	if err != nil {
		return nil, err
	}
	return armored(openpgp.SignatureType, func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
}

// armored is what write writes, in lines of ASCII.
func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, kind, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(write(w), w.Close()); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// Signed is a signed package up to its payload, which is that of the unsigned one.
type Signed struct {
	// HeaderStart and HeaderEnd are where the header stands in the signed package: its header-range in the metadata of
	// a repository.
	HeaderStart, HeaderEnd int64

	pkg       *pkg
	signature []byte // the new signature header, padded
}

// Package signs the package that r begins with. It leaves r at the payload, which Copy then takes from there. Older
// signatures are left out, digests are kept.
//
// The header is signed, and with it the payload's digest. Packages of rpm before 4.14 have none there: they get a
// second signature, of header and payload, without which dnf refuses them from EL 8 on. rpm 4.11 of EL 7 reads both.
func (s *Signer) Package(ctx context.Context, r io.ReadSeeker) (*Signed, error) {
	p, err := open(r)
	if err != nil {
		return nil, fmt.Errorf("sign package: %w", err)
	}
	raw, sig, err := s.keys[0].sign(ctx, inMemory(p.header))
	if err != nil {
		return nil, fmt.Errorf("sign package: %w", err)
	}
	entries := slices.DeleteFunc(slices.Clone(p.signature), func(e entry) bool {
		return slices.Contains([]uint32{tagDSA, tagRSA, tagOpenPGP, tagPGP, tagGPG, tagPGP5}, e.tag)
	})
	// In packages of version 6 it is for rpm 4 (rpmsign --rpmv4); rpm 6 does not look at it there.
	entries = append(entries, single(raw, sig, tagRSA, tagDSA))
	if p.v6 {
		entries = append(entries, entry{tag: tagOpenPGP, kind: typeStrings, count: 1,
			data: append([]byte(base64.StdEncoding.EncodeToString(raw)), 0)})
	}
	if p.payload == nil {
		whole, err := s.whole(ctx, p, r)
		if err != nil {
			return nil, fmt.Errorf("sign package: %w", err)
		}
		entries = append(entries, whole)
	}
	reserve := uint32(tagReservedSpace)
	if p.v6 {
		reserve = tagReserved
	}
	header := resized(entries, reserve, len(format(p.signature, tagSignatures)))
	header = append(header, make([]byte, -len(header)&7)...)
	start := int64(len(p.lead) + len(header))
	return &Signed{HeaderStart: start, HeaderEnd: start + int64(len(p.header)), pkg: p, signature: header}, nil
}

// single is a tag that has one signature, for RSA another than for the rest.
func single(raw []byte, sig *packet.Signature, rsa, other uint32) entry {
	e := entry{tag: other, kind: typeBin, count: uint32(len(raw)), data: raw}
	if sig.PubKeyAlgo == packet.PubKeyAlgoRSA {
		e.tag = rsa
	}
	return e
}

// whole signs header and payload. It leaves r at the payload, where it is.
func (s *Signer) whole(ctx context.Context, p *pkg, r io.ReadSeeker) (entry, error) {
	at, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return entry{}, err
	}
	raw, sig, err := s.keys[0].sign(ctx, func() (io.Reader, error) {
		_, err := r.Seek(at, io.SeekStart)
		return io.MultiReader(bytes.NewReader(p.header), r), err
	})
	if err != nil {
		return entry{}, err
	}
	_, err = r.Seek(at, io.SeekStart)
	return single(raw, sig, tagPGP, tagGPG), err
}

// Signed reports whether the package that r begins with has been signed by the key that signs now. It reads nothing of
// the payload.
func (s *Signer) Signed(r io.Reader) (bool, error) {
	p, err := open(r)
	if err != nil {
		return false, fmt.Errorf("look at the signature: %w", err)
	}
	raws, err := p.signatures()
	for _, raw := range raws {
		sig, readErr := readSignature(raw)
		if err = readErr; err == nil {
			_, err = s.keys[0].ring().check(sig, raw, bytes.NewReader(p.header))
		}
		if err != nil {
			break
		}
	}
	return err == nil && len(raws) > 0 && (p.payload != nil || p.whole() != nil), nil
}

// resized writes a signature header that is, if possible, as large as it was, by what its last tag reserves: rpmsign
// does so to sign without moving the rest.
func resized(entries []entry, reserve uint32, size int) []byte {
	header := format(entries, tagSignatures)
	i := slices.IndexFunc(entries, func(e entry) bool { return e.tag == reserve })
	if i < 0 {
		return header
	}
	room := len(entries[i].data) - (len(header) - size)
	if room < 1 || room > maxData || len(header) == size {
		return header // no tag can be empty
	}
	entries[i].count, entries[i].data = uint32(room), make([]byte, room)
	return format(entries, tagSignatures)
}

// Copy writes the signed package: payload is the rest of the unsigned one. It returns size and SHA-256 of what it has
// written. The error is an ErrDamaged if the payload is not the one that the header describes; what was written must
// not be used then.
func (s *Signed) Copy(w io.Writer, payload io.Reader) (size int64, sum string, err error) {
	hash := sha256.New()
	w = io.MultiWriter(w, hash)
	for _, part := range [][]byte{s.pkg.lead, s.signature, s.pkg.header} {
		n, err := w.Write(part)
		size += int64(n)
		if err != nil {
			return size, "", fmt.Errorf("write signed package: %w", err)
		}
	}
	n, err := s.pkg.copyPayload(w, payload)
	size += n
	if err != nil {
		return size, "", fmt.Errorf("write signed package: %w", err)
	}
	return size, hex.EncodeToString(hash.Sum(nil)), nil
}
