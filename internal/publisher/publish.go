package publisher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/storage"
)

const (
	stateName = "state.zst"
	maxState  = 256 << 20
	maxSmall  = 1 << 20 // mirrorlist and the like

	typeXML  = "application/xml"
	typeRPM  = "application/x-rpm"
	typeText = "text/plain; charset=utf-8"
	// changing is the Cache-Control of what is written again under its key.
	changing = "no-cache"
)

// versions are those of the objects that a change replaces, as they were before it decided anything: one that was
// overtaken meanwhile cannot replace what its successor has written.
type versions map[string]string

// edit changes the draft of the next revision; dir is for files in work.
type edit func(ctx context.Context, s *repo.State, d *repo.Draft, dir string) error

// begin is the state that an edit starts from, and the version of the object that the result replaces.
type begin func(ctx context.Context) (state *repo.State, version string, err error)

// change is the next revision of a repository in the making.
type change struct {
	place Place
	from  begin
	edit  edit

	temp    *dirlock.Temp
	had     versions
	state   *repo.State // the one that from has returned; once it is replaced, the new one
	version string
	draft   *repo.Draft
	next    *repo.State     // nil: the draft is as the state was
	wrote   int64           // the revision whose state was written, also if a later step has failed
	refused []*refusedError // by the edit
}

// change makes the next revision of one repository.
func (p *Publisher) change(ctx context.Context, place Place, from begin, edit edit) (*repo.State, error) {
	c := &change{place: place, from: from, edit: edit}
	err := p.changeAll(ctx, []*change{c}, nil)
	return c.state, err
}

// changeAll makes the next revisions of repositories. An edit may be called several times: once more after each time
// that another program was first. An edit that leaves the draft as it was only makes sure that clients see the newest
// revision. allowed is called when all edits are done: its error ends the change before anything is published.
func (p *Publisher) changeAll(ctx context.Context, changes []*change, allowed func() error) error {
	policy := retry.Policy{First: 20 * time.Millisecond, Most: time.Second, Tries: 20}
	var places []Place
	for _, c := range changes {
		places = append(places, c.place)
	}
	return p.exclusively(ctx, places, func(ctx context.Context) error {
		return policy.Do(ctx, func() error {
			err := p.once(ctx, changes, allowed)
			if err != nil && !errors.Is(err, storage.ErrChanged) {
				return retry.Permanent(err)
			}
			return err
		})
	})
}

// once takes each step for all repositories before the next one, so that clients see the new revisions at nearly the
// same time. If it ends in between, the next try publishes the rest.
func (p *Publisher) once(ctx context.Context, changes []*change, allowed func() error) error {
	defer func() {
		for _, c := range changes {
			if c.temp != nil {
				_ = c.temp.Remove() // what is left is removed at the next start
			}
		}
	}()
	for _, c := range changes {
		if err := p.prepare(ctx, c); err != nil {
			return err
		}
	}
	if allowed != nil {
		if err := allowed(); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if !c.draft.Changed() {
			continue
		}
		if err := p.store(ctx, c); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if c.next == nil {
			continue
		}
		if err := p.o.step("state"); err != nil {
			return err
		}
		if _, err := p.replaceState(ctx, c.place, c.next, c.version); err != nil {
			return err
		}
		c.state, c.wrote = c.next, c.next.Revision
	}
	return p.show(ctx, changes) // also if nothing has changed: the one before may have ended in between
}

// prepare reads a repository and edits the draft of its next revision.
func (p *Publisher) prepare(ctx context.Context, c *change) (err error) {
	if p.o.Signer == nil {
		return ErrNoKey
	}
	c.next = nil
	if c.had, err = p.versions(ctx, c.place); err != nil {
		return err
	}
	if c.state, c.version, err = c.from(ctx); err != nil {
		return err
	}
	if c.temp, err = dirlock.NewTemp(p.o.Dir, "publish-"+rand.Text()); err != nil {
		return fmt.Errorf("publish %s: %w", c.place.Path(), err)
	}
	c.draft = c.state.Edit()
	return c.edit(ctx, c.state, c.draft, c.temp.Path)
}

// arches are those of the packages that the repository of builds takes.
func arches(place Place, builds []rpmflow.Build) []string {
	if place.Kind == Source {
		return []string{"src"}
	}
	return []string{builds[0].Arch, "noarch"}
}

// addBuilds puts what builds have made into a draft. The packages that it may not have are in refused. all is nil if
// the builds are published independently of each other.
func (p *Publisher) addBuilds(place Place, builds []rpmflow.Build, all *set, refused *[]*refusedError) edit {
	return func(ctx context.Context, s *repo.State, d *repo.Draft, dir string) error {
		*refused = nil
		removed, _, err := p.removals(ctx, place)
		if err != nil {
			return err
		}
		there := map[madeBy]bool{}
		for _, r := range removed {
			there[r.madeBy] = true
		}
		some := map[string]bool{}
		for _, b := range builds {
			some[b.ID] = true
		}
		for _, f := range s.Frames { // a list of all entries would be megabytes
			for _, e := range f.Entries {
				if some[e.Build] {
					there[madeBy{e.Build, e.NEVRA.String()}] = true
				}
			}
		}
		missing := builds
		if all != nil {
			missing = all.missing(s, builds)
		}
		for _, b := range missing {
			for _, a := range b.Artifacts {
				if kind, ok := kindOf(a); !ok || kind != place.Kind || there[madeBy{b.ID, a.NEVRA}] {
					continue
				}
				err := p.take(ctx, place, s, d, b, a, dir)
				var not *refusedError
				if errors.As(err, &not) {
					*refused = append(*refused, not)
				} else if err != nil {
					return err
				}
			}
		}
		p.dropOld(place, d)
		return nil
	}
}

// dropOld takes out what does not stay by the project's rules.
func (p *Publisher) dropOld(place Place, d *repo.Draft) {
	rules := p.o.Rules(place.Project)
	d.Keep(repo.Keep{Builds: rules.Keep, Age: rules.KeepAge}, p.o.now())
}

// store stores the metadata of the next revision. The state, which is written next, decides: who writes it first has
// published.
func (p *Publisher) store(ctx context.Context, c *change) error {
	place, dir := c.place, c.temp.Path
	current, closeAll, err := p.current(ctx, place, c.state, dir)
	if err != nil {
		return err
	}
	defer closeAll()
	next, err := c.draft.Publish(current, p.o.now())
	if err != nil {
		return fmt.Errorf("repository %s: %w", place.Path(), err)
	}
	newest := next.State.Newest()
	for _, m := range next.Files {
		file := filepath.Join(dir, "next-"+m.Name)
		if err := write(file, m.Open()); err != nil {
			return fmt.Errorf("repository %s: %w", place.Path(), err)
		}
		// Clients of the revision and those of the directory itself find them in different places.
		for _, at := range []string{place.revision(newest) + "/repodata/", "repodata/"} {
			if err := p.o.step("metadata"); err != nil {
				return err
			}
			if err := p.keepObject(ctx, place, c.state, object{at + m.Name, file, m.SHA256, m.Size}); err != nil {
				return err
			}
		}
	}
	for name, repomd := range map[string][]byte{"repodata": next.Repomd, flat: next.FlatRepomd} {
		if err := p.keepSigned(ctx, place.key(place.revision(newest)+"/"+name+"/"), repomd, dir); err != nil {
			return err
		}
	}
	c.next = next.State
	c.next.Leaving = maps.Clone(c.state.Leaving)
	for _, e := range next.Added {
		delete(c.next.Leaving, e.Object())
	}
	for _, m := range next.Files {
		delete(c.next.Leaving, "repodata/"+m.Name)
	}
	return nil
}

// replaceState returns the version of what it has written.
func (p *Publisher) replaceState(ctx context.Context, place Place, state *repo.State, version string) (string, error) {
	raw, err := state.Bytes()
	if err != nil {
		return "", fmt.Errorf("repository %s: %w", place.Path(), err)
	}
	return p.repos.Replace(ctx, place.key(stateName), raw, version,
		storage.Headers{ContentType: "application/octet-stream", CacheControl: changing})
}

// object is a file that is stored in a repository for ever, under a name below its directory.
type object struct {
	name, file, sha256 string
	size               int64
}

// keepObject stores an object, or uses the one that is there. It fails while that is being removed: the one who removes
// it may do so at any moment.
func (p *Publisher) keepObject(ctx context.Context, place Place, state *repo.State, o object) error {
	if at, ok := state.Leaving[o.name]; ok && p.o.now().Sub(at) < leavingTime {
		return hint.Add(fmt.Errorf("repository %s: the object %s is being removed", place.Path(), o.name),
			fmt.Sprintf("try again in %s", leavingTime))
	}
	return p.repos.Keep(ctx, place.key(o.name), o.file, o.sha256, o.size, contentType(o.name))
}

// keepSigned stores repomd.xml and before it its signature, without which clients refuse it.
func (p *Publisher) keepSigned(ctx context.Context, below string, repomd []byte, dir string) error {
	signature, err := p.o.Signer.Detached(ctx, repomd)
	if err != nil {
		return fmt.Errorf("sign %srepomd.xml: %w", below, err)
	}
	for _, f := range []struct {
		name, media string
		content     []byte
	}{{"repomd.xml.asc", typeText, signature}, {"repomd.xml", typeXML, repomd}} {
		file := filepath.Join(dir, f.name)
		if err := os.WriteFile(file, f.content, 0o600); err != nil {
			return fmt.Errorf("store %s%s: %w", below, f.name, err)
		}
		if err := p.o.step(f.name); err != nil {
			return err
		}
		err := p.repos.Keep(ctx, below+f.name, file, rpmflow.Digest(f.content), int64(len(f.content)), f.media)
		if err != nil {
			return err
		}
	}
	return nil
}

// current opens the files of the newest revision, which the next one copies from.
func (p *Publisher) current(
	ctx context.Context, place Place, state *repo.State, dir string,
) (files []io.ReaderAt, closeAll func(), err error) {
	var open []*os.File
	closeAll = func() {
		for _, f := range open {
			_ = f.Close() // it was read only
		}
	}
	if len(state.Frames) == 0 { // nothing is copied
		return nil, closeAll, nil
	}
	for _, f := range state.Newest().Files {
		name := filepath.Join(dir, "current-"+f.Name)
		err := p.fetch(ctx, place.key("repodata/"+f.Name), name, f.SHA256, f.Size)
		var file *os.File
		if err == nil {
			file, err = os.Open(name)
		}
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("repository %s: %w", place.Path(), err)
		}
		open, files = append(open, file), append(files, file)
	}
	return files, closeAll, nil
}

func contentType(name string) string {
	switch {
	case strings.HasSuffix(name, ".rpm"):
		return typeRPM
	case strings.HasSuffix(name, ".zst"):
		return "application/zstd"
	case strings.HasSuffix(name, ".gz"):
		return "application/gzip"
	}
	return typeXML
}

func write(name string, r io.Reader) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}
