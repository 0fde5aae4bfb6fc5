package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// seed stores a repository of so many packages as a publisher has made it, but for the packages, which it never reads.
func (p *publishing) seed(ctx context.Context, target string, n int) error {
	dir := filepath.Join(p.dir, "seed-"+target)
	if err := errors.Join(os.MkdirAll(dir, 0o755), firstRevision(dir, n)); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ours := filepath.Join(dir, "ours")
	stored, err := os.ReadFile(filepath.Join(ours, "state.json.zst"))
	if err != nil {
		return err
	}
	state, err := repo.ParseState(stored)
	if err != nil {
		return err
	}
	below := storage.RepositoriesPrefix + "bench/" + target + "/"
	revision := below + "r/" + state.Newest().Name() + "/"
	objects := map[string]string{below + "state.zst": "state.json.zst"}
	for _, f := range state.Files() {
		objects[below+"repodata/"+f.Name], objects[revision+"repodata/"+f.Name] = f.Name, f.Name
	}
	for name, dir := range map[string]string{"repomd.xml": "repodata/", "flat-repomd.xml": "flat/"} {
		repomd, err := os.ReadFile(filepath.Join(ours, name))
		if err != nil {
			return err
		}
		signature, err := p.signer.Detached(ctx, repomd)
		if err != nil {
			return err
		}
		if err := save(filepath.Join(ours, name+".asc"), bytes.NewReader(signature)); err != nil {
			return err
		}
		objects[revision+dir+"repomd.xml"], objects[revision+dir+"repomd.xml.asc"] = name, name+".asc"
	}
	for key, name := range objects {
		if _, err := p.store.PutFile(ctx, key, filepath.Join(ours, name), rpmflow.KindLog); err != nil {
			return err
		}
	}
	return nil
}
