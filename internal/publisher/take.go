package publisher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// refusedError is a package that cannot be published, today or later.
type refusedError struct {
	name, nevra, build string
	err                error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("package %s of build %s: %v", e.name, e.build, e.err)
}
func (e *refusedError) Unwrap() error { return e.err }

// take signs a package of a build, stores it in the repository and adds it to the draft. A reader of the repository
// does not see it before the draft is published.
func (p *Publisher) take(
	ctx context.Context, place Place, state *repo.State, draft *repo.Draft, b rpmflow.Build, a rpmflow.Artifact,
	dir string,
) error {
	refuse := func(err error) error { return &refusedError{a.Name, a.NEVRA, b.ID, err} }
	if !rpmfile.ValidName(a.Name) {
		return refuse(hint.Add(errors.New("its name cannot be part of a repository"),
			"use letters, digits and . _ + - ~ ^"))
	}
	raw, signed := filepath.Join(dir, "package"), filepath.Join(dir, "signed")
	defer func() { _, _ = os.Remove(raw), os.Remove(signed) }() // the directory is removed in any case
	err := p.fetch(ctx, a.Key, raw, a.SHA256, a.Size)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, errAltered) {
		return refuse(hint.Add(err, "build it again"))
	}
	if err != nil {
		return err
	}
	size, sum, err := p.signFile(ctx, raw, signed)
	if errors.Is(err, rpmfile.ErrNotRPM) || errors.Is(err, sign.ErrDamaged) {
		return refuse(hint.Add(err, "build it again"))
	}
	if err != nil {
		return fmt.Errorf("sign %s of build %s: %w", a.Name, b.ID, err)
	}
	pkg, err := describe(signed, repo.File{Checksum: sum, Size: size, Time: *b.FinishedAt})
	if err != nil { // its bytes are as they were built
		return refuse(hint.Add(err, "fix the spec"))
	}
	if got := pkg.NEVRA.String(); a.NEVRA != "" && got != a.NEVRA {
		return refuse(hint.Add(fmt.Errorf("its header says %.200q, and the build's record %.200q", got, a.NEVRA),
			"build it again"))
	}
	rules := p.o.Rules(place.Project)
	err = draft.Add(pkg, repo.Origin{Package: b.Package, Build: b.ID, Built: *b.FinishedAt},
		repo.Rules{Replace: rules.Replace, RefuseLower: rules.RefuseLower})
	if err != nil { // a *repo.Refused
		return refuse(err)
	}
	if err := p.o.step("package"); err != nil {
		return err
	}
	return p.keepObject(ctx, place, state, object{pkg.Object(), signed, sum, size})
}

func describe(file string, about repo.File) (*repo.Package, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was read only
	return repo.Describe(f, about)
}

func (p *Publisher) signFile(ctx context.Context, from, to string) (size int64, sum string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = in.Close() }() // it is read only
	signed, err := p.o.Signer.Package(ctx, in)
	if err != nil {
		return 0, "", err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return signed.Copy(out, in)
}

// errAltered means that an object is not what its record says.
var errAltered = errors.New("it is not what was stored")

// fetch reads an object into a file. The error is errAltered if its size or checksum differ.
func (p *Publisher) fetch(ctx context.Context, key, file, sum string, size int64) (err error) {
	body, _, err := p.o.Store.Open(ctx, key)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it was read to its end, or failed before
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", key, err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(body, size+1))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", key, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); n != size || got != sum {
		return fmt.Errorf("%s: %w: %d bytes with SHA-256 %s, and the record says %d with %s",
			key, errAltered, n, got, size, sum)
	}
	return nil
}
