package publisher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Finding is something that Verify has found.
type Finding struct {
	Key   string // of the object
	Wrong string // what is wrong with it
	Do    string `json:",omitempty"` // what to do about it
	// Unused is an object that nothing names: an interrupted publication has left it, or somebody has put it there. No
	// client sees it.
	Unused bool
}

// Verified is what Verify has found, and how many objects it has checked.
type Verified struct {
	Objects  int
	Findings []Finding
}

// Verify reads everything that a repository names, and checks checksums and signatures. It looks for what nothing
// names, too. The error is one of reading: the repository was not checked to its end.
func (p *Publisher) Verify(ctx context.Context, place Place) (Verified, error) {
	state, _, err := p.load(ctx, place)
	if err != nil {
		return Verified{}, err
	}
	if p.o.Signer == nil {
		return Verified{}, ErrNoKey
	}
	v := &verification{p: p, place: place, keys: p.keys}
	err = v.all(ctx, state)
	return v.Verified, err
}

type verification struct {
	p     *Publisher
	place Place
	keys  sign.Keyring
	do    string // about what is wrong with the objects that are looked at
	Verified
}

func (v *verification) all(ctx context.Context, state *repo.State) error {
	rebuild := v.place.command("rebuild")
	for _, r := range state.Revisions {
		switch {
		case r.Number == state.Revision:
			v.do = rebuild
		case r.Number == state.Back:
			v.do = "clients see this revision: show them another with " + v.place.command("rollback", "REVISION")
		case r.Pinned:
			v.do = fmt.Sprintf("nothing makes an old revision again: %s",
				v.place.command("pin", fmt.Sprint(r.Number), "--release"))
		default:
			v.do = "nothing makes an old revision again: it is removed 50 hours after it was replaced"
		}
		if err := v.revision(ctx, r); err != nil {
			return err
		}
	}
	v.do = v.place.command("rollback", fmt.Sprint(state.Back)) + " or the next publication writes it again"
	if err := v.pointers(ctx, state); err != nil {
		return err
	}
	v.do = rebuild
	for _, e := range state.Entries() {
		if err := v.pkg(ctx, e); err != nil {
			return err
		}
	}
	v.do = rebuild + " forgets it if it is missing: the newest revision does not have it, older ones do"
	for _, r := range state.Removed { // for those who have older metadata
		if err := v.pkg(ctx, r.Entry); err != nil {
			return err
		}
	}
	return v.unused(ctx, v.place.names(state))
}

func (v *verification) wrong(name, what string, args ...any) {
	v.Findings = append(v.Findings, Finding{Key: v.place.key(name), Wrong: fmt.Sprintf(what, args...), Do: v.do})
}

// signature is a finding about one.
func (v *verification) signature(name string, err error) {
	v.wrong(name, "%v", err)
	if errors.Is(err, sign.ErrUnknownKey) { // clients may know it
		v.Findings[len(v.Findings)-1].Do = "add the public half of the key to publisher.signing_key"
	}
}

// open reads an object; nil: it is not there, which is a finding.
func (v *verification) open(ctx context.Context, name string) (io.ReadCloser, error) {
	v.Objects++
	body, _, err := v.p.o.Store.Open(ctx, v.place.key(name))
	if errors.Is(err, storage.ErrNotFound) {
		v.wrong(name, "it is missing")
		return nil, nil
	}
	return body, err
}

// read returns a small object; nil: it is not there.
func (v *verification) read(ctx context.Context, name string) ([]byte, error) {
	body, err := v.open(ctx, name)
	if body == nil || err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // it was read to its end, or failed before
	return io.ReadAll(io.LimitReader(body, maxSmall))
}

// sum compares an object with what is known of it.
func (v *verification) sum(ctx context.Context, name string, size int64, sum string) (right bool, err error) {
	body, err := v.open(ctx, name)
	if body == nil || err != nil {
		return false, err
	}
	defer func() { _ = body.Close() }() // it was read to its end, or failed before
	hash := sha256.New()
	n, err := io.Copy(hash, body)
	got := hex.EncodeToString(hash.Sum(nil))
	right = err == nil && n == size && got == sum
	if err == nil && !right {
		v.wrong(name, "it has %d bytes with SHA-256 %s, and should have %d with %s", n, got, size, sum)
	}
	return right, err
}

// revision checks the files of a revision, as clients of the mirrorlist and of the directory itself find them.
func (v *verification) revision(ctx context.Context, r repo.Revision) error {
	for _, f := range r.Files {
		for _, at := range []string{v.place.revision(r) + "/repodata/", "repodata/"} {
			if _, err := v.sum(ctx, at+f.Name, f.Size, f.SHA256); err != nil {
				return err
			}
		}
	}
	for _, dir := range []string{"/repodata/", "/" + flat + "/"} {
		if _, err := v.signed(ctx, v.place.revision(r)+dir); err != nil {
			return err
		}
	}
	return nil
}

// signed checks the signature of a repomd.xml, and returns both.
func (v *verification) signed(ctx context.Context, dir string) (repomd []byte, err error) {
	repomd, err = v.read(ctx, dir+"repomd.xml")
	if repomd == nil || err != nil {
		return nil, err
	}
	signature, err := v.read(ctx, dir+"repomd.xml.asc")
	if signature == nil || err != nil {
		return nil, err
	}
	if _, err := v.keys.Detached(repomd, signature); err != nil {
		v.signature(dir+"repomd.xml.asc", err)
	}
	return repomd, nil
}

func (v *verification) pointers(ctx context.Context, state *repo.State) error {
	list, err := v.read(ctx, mirrorlist)
	if err != nil {
		return err
	}
	if want := v.place.revision(state.Shown()) + "/\n"; list != nil && !strings.HasSuffix(string(list), "/"+want) {
		v.wrong(mirrorlist, "it names %q, and not the revision %s", list, want)
	}
	_, err = v.signed(ctx, "repodata/")
	return err
}

func (v *verification) pkg(ctx context.Context, e repo.Entry) error {
	right, err := v.sum(ctx, e.Object(), e.Size, e.Checksum)
	if !right || err != nil { // one fault of an object is enough
		return err
	}
	body, _, err := v.p.o.Store.Open(ctx, v.place.key(e.Object()))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // the rest of it is not read
	if _, err := v.keys.Package(body); err != nil {
		v.signature(e.Object(), err)
	}
	return nil
}

// unused finds what nothing names. Repositories of other kinds are in directories below.
func (v *verification) unused(ctx context.Context, named map[string]bool) error {
	below := v.place.key("")
	for o, err := range v.p.repos.List(ctx, below) {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(o.Key, below)
		other := v.place.Kind == Binary && (strings.HasPrefix(name, string(Debug)+"/") ||
			strings.HasPrefix(name, string(Source)+"/"))
		if !named[name] && !other {
			v.Findings = append(v.Findings, Finding{Key: o.Key, Wrong: "nothing names it", Unused: true})
		}
	}
	return nil
}
