package publisher

import (
	"bytes"
	"context"

	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/storage"
)

const (
	mirrorlist = "mirrorlist"
	// flat is where a revision keeps the repomd.xml with which packages are found from the repository's directory. It
	// is copied to the directory's own repodata/, for tools that want a baseurl.
	flat = "flat"
)

// pointers are the objects that say which revision is the current one, in the order in which they are written. Between
// repomd.xml.asc and repomd.xml of the directory itself a client that reads both sees a wrong signature; clients of the
// mirrorlist never do.
func pointers() []string {
	return []string{mirrorlist, "repodata/repomd.xml.asc", "repodata/repomd.xml"}
}

// versions reads the versions of the pointers.
func (p *Publisher) versions(ctx context.Context, place Place) (versions, error) {
	had := versions{}
	for _, name := range pointers() {
		_, version, err := p.repos.Read(ctx, place.key(name), maxSmall)
		if err != nil {
			return nil, err
		}
		had[name] = version
	}
	return had, nil
}

// show makes clients see the states of repositories.
func (p *Publisher) show(ctx context.Context, changes []*change) error {
	for _, c := range changes {
		if err := p.publishKeys(ctx, c.place); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := p.point(ctx, c.place, c.state, c.had); err != nil {
			return err
		}
	}
	written := map[Place]bool{}
	for _, c := range changes {
		place := Place{Project: c.place.Project, Target: c.place.Target}
		if written[place] {
			continue
		}
		written[place] = true
		if err := p.keepRepoFile(ctx, place); err != nil {
			return err
		}
	}
	return nil
}

// keepRepoFile makes a target's .repo file name the repositories that there are: zypper stops at one that is not there,
// also if it is switched off. Of two programs that add one at the same time, the first to write is overtaken.
func (p *Publisher) keepRepoFile(ctx context.Context, place Place) error {
	key := place.key(place.Project + ".repo")
	_, version, err := p.repos.Read(ctx, key, maxSmall)
	if err != nil {
		return err
	}
	var there []Kind
	for _, kind := range []Kind{Binary, Debug, Source} {
		of := place
		of.Kind = kind
		_, version, err := p.repos.Read(ctx, of.key(mirrorlist), maxSmall)
		if err != nil {
			return err
		}
		if version != "" {
			there = append(there, kind)
		}
	}
	return p.replace(ctx, key, []byte(repoFile(place, p.URL(place), there)), version, typeText)
}

// point makes clients see the revision that the state shows them. Nothing is written if they do already.
func (p *Publisher) point(ctx context.Context, place Place, state *repo.State, had versions) error {
	shown := state.Shown()
	content := map[string][]byte{mirrorlist: []byte(p.RevisionURL(place, shown) + "\n")}
	for _, name := range []string{"repomd.xml.asc", "repomd.xml"} {
		raw, _, err := p.repos.Read(ctx, place.key(place.revision(shown)+"/"+flat+"/"+name), maxSmall)
		if err != nil {
			return err
		}
		content["repodata/"+name] = raw
	}
	for _, name := range pointers() {
		if err := p.o.step(name); err != nil {
			return err
		}
		if err := p.replace(ctx, place.key(name), content[name], had[name], typeText); err != nil {
			return err
		}
	}
	return nil
}

// keepAs makes an object have this content.
func (p *Publisher) keepAs(ctx context.Context, key string, content []byte) error {
	_, version, err := p.repos.Read(ctx, key, maxSmall)
	if err != nil {
		return err
	}
	return p.replace(ctx, key, content, version, typeText)
}

// replace writes an object if it has this version, and nothing if it has this content.
func (p *Publisher) replace(ctx context.Context, key string, content []byte, version, media string) error {
	there, _, err := p.repos.Read(ctx, key, maxSmall)
	if err != nil || bytes.Equal(there, content) {
		return err
	}
	_, err = p.repos.Replace(ctx, key, content, version, storage.Headers{ContentType: media, CacheControl: changing})
	return err
}
