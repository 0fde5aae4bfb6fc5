package publisher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// errOtherKey means that a repository was signed with a key that this publisher does not have.
var errOtherKey = errors.New("the repository is signed with another key than this publisher's")

// ErrNoKey means that this program has no signing key.
var ErrNoKey = hint.Add(errors.New("the signing key is missing"),
	"run the command with the publisher's data_dir, or set publisher.signing_key")

// checkKey looks for the key of a revision among this publisher's: clients that trust only the one would refuse what
// the others sign.
func (p *Publisher) checkKey(ctx context.Context, place Place, r repo.Revision) error {
	if p.o.Signer == nil {
		return ErrNoKey
	}
	_, err := p.signer(ctx, place, r)
	if errors.Is(err, sign.ErrUnknownKey) {
		return fmt.Errorf("repository %s: revision %d: %w", place.Path(), r.Number,
			hint.Add(fmt.Errorf("%w: %w", errOtherKey, err), "give all publishers the same publisher.signing_key; "+
				"after a change of the key it must have the public half of the one before, too"))
	}
	if errors.Is(err, sign.ErrBadSignature) {
		return nil // verify finds it, and a new revision does not have it
	}
	return err
}

// signer is the fingerprint of the key that has signed a revision; empty if there is none.
func (p *Publisher) signer(ctx context.Context, place Place, r repo.Revision) (string, error) {
	if r.Number == 0 {
		return "", nil
	}
	var signed [2][]byte
	for i, name := range []string{"repomd.xml", "repomd.xml.asc"} {
		var err error
		if signed[i], _, err = p.repos.Read(ctx, place.key(place.revision(r)+"/repodata/"+name), maxSmall); err != nil {
			return "", err
		}
	}
	return p.keys.Detached(signed[0], signed[1])
}

// publishKeys writes the public keys. Clients find them before anything that one of them has signed.
func (p *Publisher) publishKeys(ctx context.Context, place Place) error {
	public, err := p.o.Signer.Public()
	if err != nil {
		return err
	}
	binary := place
	binary.Kind = Binary // where the .repo file looks for the keys of all kinds
	for _, key := range []string{
		place.key("repodata/repomd.xml.key"), binary.key("RPM-GPG-KEY-" + place.Project),
	} {
		if err := p.keepAs(ctx, key, public); err != nil {
			return err
		}
	}
	return nil
}

// signAtOnce is how many packages are signed again in one revision.
const signAtOnce = 100

// Sign has a repository signed by the key that signs now, and publishes the public keys of all. It returns how many
// packages were signed again. Older revisions stay as they are.
func (p *Publisher) Sign(ctx context.Context, place Place) (state *repo.State, packages int, err error) {
	unchanged := func(context.Context, *repo.State, *repo.Draft, string) error { return nil }
	state, err = p.change(ctx, place, p.existing(place), unchanged) // publishes the keys
	if err != nil {
		return nil, 0, err
	}
	others, err := p.signedByOthers(ctx, place, state)
	if err != nil {
		return nil, 0, err
	}
	by, err := p.signer(ctx, place, state.Newest())
	if err != nil && !errors.Is(err, sign.ErrBadSignature) {
		return nil, 0, err
	}
	if own := p.o.Signer.Keys()[0].Fingerprint(); len(others) == 0 && by == own {
		return state, 0, nil
	}
	if state.Back != 0 {
		return nil, 0, hint.Add(fmt.Errorf("repository %s: clients see revision %d, and would see a new one",
			place.Path(), state.Back), "remove the packages that are not wanted, then rpmflow repo rollback to 0")
	}
	if len(others) == 0 {
		state, err = p.change(ctx, place, p.existing(place), func(
			_ context.Context, _ *repo.State, d *repo.Draft, _ string,
		) error {
			d.Renew()
			return nil
		})
	}
	for some := range slices.Chunk(others, signAtOnce) {
		if state, err = p.change(ctx, place, p.existing(place), p.signAgain(place, some)); err != nil {
			break
		}
		packages += len(some)
	}
	return state, packages, err
}

// signedByOthers are the packages that the key that signs now has not signed.
func (p *Publisher) signedByOthers(ctx context.Context, place Place, s *repo.State) (others []repo.Entry, err error) {
	for _, e := range s.Entries() {
		body, _, err := p.o.Store.Open(ctx, place.key(e.Object()))
		if err != nil {
			return nil, missing(err)
		}
		own, err := p.o.Signer.Signed(body)
		_ = body.Close() // the rest of it is not read
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place.key(e.Object()), err)
		}
		if !own {
			others = append(others, e)
		}
	}
	return others, nil
}

// missing says what to do about a package that is not as it was published.
func missing(err error) error {
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, errAltered) {
		return hint.Add(err, "make the repository again with rpmflow repo rebuild")
	}
	return err
}

// signAgain replaces packages by themselves with another signature. What was signed stays so when another publisher was
// first, and the edit is made once more.
func (p *Publisher) signAgain(place Place, entries []repo.Entry) edit {
	signed := map[string]*repo.Package{}
	return func(ctx context.Context, s *repo.State, d *repo.Draft, dir string) error {
		there := map[string]bool{}
		for _, e := range s.Entries() {
			there[e.Checksum] = true
		}
		for _, e := range entries {
			if !there[e.Checksum] {
				continue // it was removed meanwhile
			}
			pkg := signed[e.Checksum]
			if pkg == nil {
				var err error
				if pkg, err = p.storeOwn(ctx, place, s, e, dir); err != nil {
					return err
				}
				signed[e.Checksum] = pkg
			}
			d.Remove(e.NEVRA)
			if err := d.Add(pkg, e.Origin, repo.Rules{}); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *Publisher) storeOwn(
	ctx context.Context, place Place, s *repo.State, e repo.Entry, dir string,
) (*repo.Package, error) {
	pkg, file, err := p.own(ctx, place, e, dir)
	if err != nil {
		return nil, missing(err)
	}
	if err := p.o.step("package"); err != nil {
		return nil, err
	}
	return pkg, p.keepObject(ctx, place, s, object{pkg.Object(), file, pkg.Checksum, pkg.Size})
}

// own is a package of a repository with the signature of the key that signs now, as a file in dir.
func (p *Publisher) own(ctx context.Context, place Place, e repo.Entry, dir string) (*repo.Package, string, error) {
	file, signed := filepath.Join(dir, "package"), filepath.Join(dir, "signed")
	about := repo.File{Checksum: e.Checksum, Size: e.Size, Time: e.Built}
	if err := p.fetch(ctx, place.key(e.Object()), file, e.Checksum, e.Size); err != nil {
		return nil, "", err
	}
	own, err := p.isOwn(file)
	if err == nil && !own {
		about.Size, about.Checksum, err = p.signFile(ctx, file, signed)
		file = signed
	}
	if err != nil {
		return nil, "", fmt.Errorf("sign %s again: %w", place.key(e.Object()), err)
	}
	pkg, err := describe(file, about)
	return pkg, file, err
}

func (p *Publisher) isOwn(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // it is read only
	return p.o.Signer.Signed(f)
}
