package rpmfile

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // the only digest of the payload that packages of rpm before 4.14 have
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	rpm "github.com/sassoftware/go-rpmutils"
)

// NotSource says why a file is not a source package that can be rebuilt. The error is written for the person who has
// given it, and names the file by what the caller calls it.
type NotSource struct{ Why, Hint string }

// Error implements error.
func (e *NotSource) Error() string { return e.Why }

// Hinted is what to do about it, for package hint.
func (e *NotSource) Hinted() string { return e.Hint }

// CheckSource reads a whole file and says what package it is. A file that is not a source package, lacks sources, is
// damaged or cut off is a *NotSource; any other error is one of reading.
func CheckSource(file string) (NEVRA, error) {
	const hint = "give a source package as rpmbuild -bs makes it"
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() { // a FIFO would be waited for without end
		return NEVRA{}, &NotSource{"it is a directory or a special file, not a source package", hint}
	}
	p, err := Package(file)
	switch {
	case errors.Is(err, ErrNotRPM):
		return p, &NotSource{"it is not a valid RPM: its header cannot be read", hint}
	case err != nil:
		return p, err
	case p.Arch != "src":
		return p, &NotSource{fmt.Sprintf("it is a binary package (%s), not a source package", p), hint}
	}
	incomplete, err := Incomplete(file)
	if err != nil {
		return p, err
	}
	if incomplete {
		return p, &NotSource{fmt.Sprintf("%s lacks sources: its spec says NoSource or NoPatch", p),
			"give one that has all of its sources in it"}
	}
	return p, whole(file, p)
}

// whole compares the payload with size and digest in the headers.
func whole(file string, p NEVRA) error {
	const hint = "copy or download it again: rpm -K FILE says whether it is whole"
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	var wrong error
	err = Header(file, func(h *rpm.RpmHeader) error {
		at := h.GetRange()
		if size, err := h.GetUint64Fallback(rpm.SIG_SIZE,
			rpm.SIG_LONGSIGSIZE); err == nil && uint64(info.Size()-int64(at.Start)) != size {
			wrong = &NotSource{fmt.Sprintf("%s is truncated: it has %d of %d bytes", p, info.Size(),
				uint64(at.Start)+size), hint}
			if uint64(info.Size()-int64(at.Start)) > size {
				wrong = &NotSource{fmt.Sprintf("%s is followed by something else: its header says %d bytes, and the "+
					"file has %d", p,
					uint64(at.Start)+size, info.Size()), hint}
			}
			return nil
		}
		sum, want, from := digest(h)
		if sum == nil {
			wrong = &NotSource{p.String() + " has no checksum of its content, so it cannot be checked",
				"make it again with a current rpmbuild -bs"}
			return nil
		}
		if _, err := io.Copy(sum, io.NewSectionReader(f, int64(from), info.Size())); err != nil {
			return err
		}
		if !bytes.Equal(sum.Sum(nil), want) {
			wrong = &NotSource{p.String() +
				" is damaged or truncated: its content does not have the checksum in its header",
				hint}
		}
		return nil
	})
	return errors.Join(err, wrong)
}

// digest is what a package is compared with: that of its payload, else that of header and payload; and where in the
// file that begins.
func digest(h *rpm.RpmHeader) (sum hash.Hash, want []byte, from int) {
	at := h.GetRange()
	if texts, err := h.GetStrings(rpm.PAYLOADDIGEST); err == nil && len(texts) > 0 {
		want, err := hex.DecodeString(texts[0])
		sums := []func() hash.Hash{sha1.New, sha256.New224, sha256.New, sha512.New384, sha512.New}
		i := slices.IndexFunc(sums, func(f func() hash.Hash) bool { return f().Size() == len(want) })
		if err == nil && i >= 0 {
			return sums[i](), want, at.End
		}
	}
	if want, err := h.GetBytes(rpm.SIG_MD5); err == nil && len(want) == md5.Size {
		return md5.New(), want, at.Start //nolint:gosec // as above
	}
	return nil, nil, 0
}
