package source

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Uploads has the source packages that users have uploaded to the listener. It may be used by many goroutines.
type Uploads interface {
	// Open returns the content of one, and whether it is there.
	Open(ctx context.Context, sha512, name string) (io.ReadCloser, bool, error)
}

// prepareUpload takes a source package from the storage. No repository is looked at.
func (s *Store) prepareUpload(ctx context.Context, pkg rpmflow.SourcePackage, dir string) (*Draft, error) {
	if s.uploads == nil {
		return nil, fmt.Errorf("source package %s: this program has no storage", show(pkg.Name))
	}
	d := &Draft{
		SRPM: filepath.Join(dir, "SRPM", "package.src.rpm"), SRPMPath: pkg.Name,
		Layout:      rpmflow.LayoutSRPM,
		Explanation: "srpm: the source package " + show(pkg.NEVRA) + " that was submitted is rebuilt", store: s,
	}
	out := filepath.Dir(d.SRPM)
	if err := makeEmpty(out); err != nil {
		return nil, err
	}
	in, there, err := s.uploads.Open(ctx, pkg.SHA512, pkg.Name)
	if err != nil {
		return nil, fmt.Errorf("source package %s: %w", show(pkg.Name), err)
	}
	if !there {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "submit it again with rpmflow submit --srpm",
			"the source package %s is not in the storage any more", show(pkg.Name))
	}
	err = copyUpload(d.SRPM, in, pkg)
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, fmt.Errorf("source package %s: %w", show(pkg.Name), err)
	}
	// The packages that are made of it are the same wherever they are made.
	if d.CommitTime, err = rpmfile.MadeAt(d.SRPM); err != nil {
		return nil, fmt.Errorf("source package %s: %w", show(pkg.Name), err)
	}
	return d, nil
}

// copyUpload compares what comes with size and checksum: the listener has done so before it was stored, so other
// content is the storage's fault.
func copyUpload(name string, in io.Reader, pkg rpmflow.SourcePackage) (err error) {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sum := sha512.New()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, pkg.Size+1))
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != pkg.Size || got != pkg.SHA512 {
		return fmt.Errorf(
			"the storage has other content than was uploaded: %d bytes with SHA-512 %.16s…, and not %d with %.16s…",
			n, got, pkg.Size, pkg.SHA512)
	}
	return nil
}
