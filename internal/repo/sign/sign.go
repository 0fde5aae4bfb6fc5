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

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Signer signs with one key, or with several while one replaces another.
type Signer struct{ keys []*Key }

// NewSigner takes the keys in the order of their use. The first signs whatever can have one signature only: packages of
// version 4, and metadata. Packages of version 6, which rpm 6 can make, are signed with all of them. rpm 6 refuses a
// package as long as it lacks one of the keys, so a second key follows once clients have its public half.
func NewSigner(keys ...*Key) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("there is no signing key")
	}
	return &Signer{keys}, nil
}

// Public is the armored public halves of all keys, for rpm --import and gpgkey=.
func (s *Signer) Public() ([]byte, error) {
	var all []byte
	for _, k := range s.keys {
		public, err := k.Public()
		if err != nil {
			return nil, err
		}
		all = append(all, public...)
	}
	return all, nil
}

// Detached makes the armored signature of a file, by the first key: clients read one signature only.
func (s *Signer) Detached(ctx context.Context, file []byte) ([]byte, error) {
	raw, _, err := s.keys[0].sign(ctx, file)
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
	// Covered tells that the signature covers the payload, by its digest in the header. Packages of rpm before 4.14
	// have none, and later rpms refuse to install them by this signature alone.
	Covered bool

	pkg       *pkg
	signature []byte // the new signature header, padded
}

// Package signs the package that r begins with. It reads r up to the payload, which Copy then takes from there. Older
// signatures are left out, digests are kept.
func (s *Signer) Package(ctx context.Context, r io.Reader) (*Signed, error) {
	p, err := open(r)
	if err != nil {
		return nil, fmt.Errorf("sign package: %w", err)
	}
	entries := slices.DeleteFunc(slices.Clone(p.signature), func(e entry) bool {
		return slices.Contains([]uint32{tagDSA, tagRSA, tagOpenPGP, tagPGP, tagGPG, tagPGP5}, e.tag)
	})
	keys := s.keys[:1]
	if p.v6 {
		keys = s.keys
	}
	openPGP := entry{tag: tagOpenPGP, kind: typeStrings, count: uint32(len(keys))}
	for i, key := range keys {
		raw, sig, err := key.sign(ctx, p.header)
		if err != nil {
			return nil, fmt.Errorf("sign package: %w", err)
		}
		openPGP.data = append(append(openPGP.data, base64.StdEncoding.EncodeToString(raw)...), 0)
		if i > 0 {
			continue
		}
		// In packages of version 6 it is for rpm 4 (rpmsign --rpmv4); rpm 6 does not look at it there.
		single := entry{tag: tagDSA, kind: typeBin, count: uint32(len(raw)), data: raw}
		if sig.PubKeyAlgo == packet.PubKeyAlgoRSA {
			single.tag = tagRSA
		}
		entries = append(entries, single)
	}
	reserve := uint32(tagReservedSpace)
	if p.v6 {
		entries = append(entries, openPGP)
		reserve = tagReserved
	}
	header := resized(entries, reserve, len(format(p.signature, tagSignatures)))
	header = append(header, make([]byte, -len(header)&7)...)
	start := int64(len(p.lead) + len(header))
	return &Signed{HeaderStart: start, HeaderEnd: start + int64(len(p.header)), Covered: p.payload != nil, pkg: p,
		signature: header}, nil
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
