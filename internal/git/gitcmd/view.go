package gitcmd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// View is a bare repository with the objects of another one, in which a commit is checked out, and with tags as its
// only other refs: nothing else of the other's refs or of its configuration counts in it.
type View struct {
	Objects string // directory of the objects
	Shallow string // file with the commits without parents; it need not exist
	Format  string // of the objects; empty: sha1
	Commit  string // empty: there is none yet
	Ref     string // the branch that is checked out; empty: none
	Tags    []byte // as Tags returns them
}

// Tags lists the tags of a repository for a View. options are git's own, which name the repository.
func Tags(ctx context.Context, options ...string) ([]byte, error) {
	return Run(ctx, append(options, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")...)
}

// Make writes the view to a directory.
func (v View) Make(dir string) error {
	config := "[core]\n\trepositoryformatversion = 1\n\tbare = true\n"
	if v.Format != "" && v.Format != "sha1" {
		config += "[extensions]\n\tobjectFormat = " + v.Format + "\n"
	}
	files := map[string]string{
		"config": config, "HEAD": "ref: refs/heads/none\n", "objects/info/alternates": v.Objects + "\n",
		"packed-refs": "# pack-refs with: sorted \n" + string(v.Tags),
	}
	if v.Commit != "" {
		files["HEAD"] = v.Commit + "\n"
		if v.Ref != "" {
			files["HEAD"], files[v.Ref] = "ref: "+v.Ref+"\n", v.Commit+"\n"
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "refs"), 0o700); err != nil {
		return err
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600))
		if err != nil {
			return err
		}
	}
	text, err := os.ReadFile(v.Shallow)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "shallow"), text, 0o600)
}
