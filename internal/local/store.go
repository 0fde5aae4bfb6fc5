package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// Results is a directory of the user's that takes what a build leaves behind: packages, logs as plain text, and the
// record.
type Results struct{ dir string }

// OpenResults makes the directory ready. One that is made here hides from git; in any, a list of what builds have put
// there keeps that out of the sources of the next one.
func OpenResults(dir string) (*Results, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("directory for results: %w", err)
	}
	_, err = os.Stat(dir)
	made := errors.Is(err, os.ErrNotExist)
	if err = os.MkdirAll(dir, 0o755); err == nil {
		err = worktree.MarkResults(dir)
	}
	if err == nil && made {
		_, err = (&Results{dir}).write(".gitignore", strings.NewReader("*\n"))
	}
	if err != nil {
		return nil, hint.Add(fmt.Errorf("directory for results: %w", err), "name another with --resultdir")
	}
	return &Results{dir}, nil
}

// Dir is the directory's absolute path.
func (r *Results) Dir() string { return r.dir }

// URL is the path of a key's object on this machine.
func (r *Results) URL(key string) string { return filepath.Join(r.dir, name(key)) }

// name is an object's file name. All of a build's objects have the same prefix.
func name(key string) string { return path.Base(key) }

// PutFile implements build.Store.
func (r *Results) PutFile(_ context.Context, key, file string, kind rpmflow.ArtifactKind) (a rpmflow.Artifact,
	err error) {
	contentType := "application/x-rpm"
	if kind == rpmflow.KindLog {
		contentType = "text/plain; charset=utf-8"
	}
	a = rpmflow.Artifact{Name: name(key), Kind: kind, Key: name(key), ContentType: contentType}
	in, err := os.Open(file)
	if err != nil {
		return a, fmt.Errorf("keep %s: %w", file, err)
	}
	defer func() { _ = in.Close() }()
	a.Size, a.SHA256, err = r.put(a.Name, in)
	return a, err
}

// PutLog implements build.Store. It is not downloaded from here, and so not compressed.
func (r *Results) PutLog(ctx context.Context, key, file string) (rpmflow.Artifact, error) {
	return r.PutFile(ctx, strings.TrimSuffix(key, ".gz"), file, rpmflow.KindLog)
}

// PutJSON implements build.Store.
func (r *Results) PutJSON(_ context.Context, key string, v any) error {
	text, err := rpmflow.EncodeJSON(v, "  ")
	if err != nil {
		return fmt.Errorf("keep %s: %w", name(key), err)
	}
	_, err = r.write(name(key), strings.NewReader(string(text)+"\n"))
	return err
}

// write stores a file that is not an artifact of the record.
func (r *Results) write(name string, from io.Reader) (size int64, err error) {
	size, _, err = r.put(name, from)
	return size, err
}

// put puts a whole file in its place, or none, and notes that it is a result. One that was there before, with the
// same content and without such a note, stays what it was: the user's.
func (r *Results) put(name string, from io.Reader) (size int64, sha string, err error) {
	out, err := worktree.CreateResult(r.dir)
	if err != nil {
		return 0, "", fmt.Errorf("keep %s: %w", name, err)
	}
	sum := sha256.New()
	size, err = io.Copy(out, io.TeeReader(from, sum))
	sha = hex.EncodeToString(sum.Sum(nil))
	if err == nil {
		err = out.Chmod(0o644)
	}
	err = errors.Join(err, out.Close())
	to := filepath.Join(r.dir, name)
	known, _ := checksum.Of(sha) // of the right length
	users := fetch.Compare(to, name, []checksum.Checksum{known}) == nil && !worktree.IsResult(r.dir, name)
	if err == nil && !users {
		err = worktree.NoteResult(r.dir, name, sha) // before it is there: no build may find it without
	}
	if err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		return size, sha, errors.Join(fmt.Errorf("keep %s: %w", name, err), os.Remove(out.Name()))
	}
	return size, sha, nil
}
