package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/retry"
)

const (
	askWait = 10 * time.Second // for one answer of a repository
	// maxMirrorlist bounds the file that names the current revision.
	maxMirrorlist = 4 << 10
)

// ErrNotPublished means that no revision of a repository was published yet.
var ErrNotPublished = errors.New("nothing is published yet")

// revisionLine is the line of a mirrorlist: the URL of a revision, as publishers call it.
var revisionLine = regexp.MustCompile(`^https?://\S+/(r/[0-9]+-[0-9a-f]{8}/)$`)

// ownRepository finds what is published of the project now, if the build is to use it, and writes it into the record:
// all of the attempt takes BuildRequires from this revision.
func (r *run) ownRepository(ctx context.Context) error {
	if !r.b.Options.UseOwnRepository {
		return nil
	}
	at := PublishedURL(r.RepositoriesURL, r.b.Project, r.b.Target)
	revision, err := CurrentRevision(ctx, at)
	if errors.Is(err, ErrNotPublished) {
		r.note("use_own_repository: nothing was published at " + at + " when the attempt began: BuildRequires were " +
			"installed without it")
		return nil
	}
	r.b.OwnRepository = revision
	return err
}

// PublishedURL is where the repository of a project for a target is, with a slash at its end.
func PublishedURL(repositories, project, target string) string {
	return repositories + "/" + project + "/" + target + "/"
}

// CurrentRevision returns the URL of the revision that a published repository shows its clients now. Its content never
// changes.
func CurrentRevision(ctx context.Context, repository string) (string, error) {
	list := repository + "mirrorlist"
	var revision string
	err := retry.Policy{First: 200 * time.Millisecond, Tries: 3}.Do(ctx, func() error {
		raw, status, err := get(ctx, list)
		switch {
		case err != nil:
			return err
		case status == http.StatusNotFound:
			return retry.Permanent(fmt.Errorf("%s: %w", repository, ErrNotPublished))
		case status != http.StatusOK:
			return fmt.Errorf("GET %s: status %d", list, status)
		}
		revision = strings.TrimSpace(raw)
		return nil
	})
	if errors.Is(err, ErrNotPublished) {
		return "", err
	}
	if err != nil {
		return "", hint.Add(fmt.Errorf("the project's own repository cannot be asked: %w", err),
			"set publisher.url (or public_url) to where builders and their containers reach the repositories")
	}
	// A publisher may call the place by another name than a builder, as it does when publisher.url was changed.
	m := revisionLine.FindStringSubmatch(revision)
	if m == nil {
		return "", hint.Add(fmt.Errorf("%s has %.200q, and not the URL of one revision", list, revision),
			"look whether publisher.url (or public_url) is where rpmflow's repositories are; the next publication, or "+
				"rpmflow repo rebuild, writes the file again")
	}
	return repository + m[1], nil
}

func get(ctx context.Context, of string) (content string, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, of, nil)
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxMirrorlist))
	return string(raw), answer.StatusCode, err
}
