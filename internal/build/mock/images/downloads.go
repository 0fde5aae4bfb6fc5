package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

// The packages that dnf has downloaded for a target are kept in a volume of the engine. Containers that install
// packages have it below dnf's own directory as a layer that they cannot write to. What they download themselves is in
// a layer above it, which the store copies into the volume after they have ended. dnf compares a file with the checksum
// in the repository's metadata before it uses it.
const (
	// PackagesDir is where containers that install packages have the volume.
	PackagesDir = "/rpmflow/packages"
	// NewPackagesDir is where such a container leaves what it has downloaded: ROOT/PACKAGE MANAGER/REPOSITORY/FILE, as
	// in the volume.
	NewPackagesDir = "/rpmflow/work/packages"

	kindPackages = "packages" // the label of the volumes
	collectWait  = 10 * time.Minute
	maxPackage   = 8 << 30
)

// scriptShrink removes the oldest downloads until what is left fits.
const scriptShrink = `cd ` + PackagesDir + `
left=$(du -sk . | cut -f 1)
find . -type f -printf '%T@ %k %p\n' | sort -n | while read -r _ size name; do
	[ "$left" -gt "$LIMIT" ] || break
	rm -f "$name"
	left=$((left - size))
done`

func (s *Store) volumeOf(target string) string {
	sum := sha256.Sum256([]byte(target))
	return "rpmflow-" + s.s.Installation + "-packages-" + hex.EncodeToString(sum[:])[:KeyLength]
}

// Downloads is the mount of a target's downloads for a container that installs packages; false: none are kept.
func (s *Store) Downloads(target string) (docker.Mount, bool) {
	return s.downloads(target, true), s.s.Packages > 0
}

func (s *Store) downloads(target string, readOnly bool) docker.Mount {
	return docker.Mount{
		Volume: s.volumeOf(target), Target: PackagesDir, ReadOnly: readOnly,
		Labels: map[string]string{LabelInstallation: s.s.Installation, labelKind: kindPackages, labelTarget: target},
	}
}

// collect copies what a container has downloaded into the target's volume. It is given up when the store is closed: the
// build that it comes from does not need it.
func (s *Store) collect(id, image, target string) {
	if s.s.Packages <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.removals.closing, collectWait)
	defer cancel()
	if err := s.copyDownloads(ctx, id, image, target); err != nil && s.removals.closing.Err() == nil {
		s.s.Logger.Warn("downloaded packages not kept", "target", target, "container", id, "error", err)
	}
}

func (s *Store) copyDownloads(ctx context.Context, id, image, target string) (err error) {
	r, err := s.docker.Archive(ctx, id, NewPackagesDir)
	if docker.IsNotFound(err) {
		return nil // nothing was downloaded
	}
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	in := tar.NewReader(r)
	first, err := nextPackage(in)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	// This container alone may write to the volume. Nothing of a build runs in it.
	writer, err := s.docker.Create(ctx, docker.Container{
		Image: image, Command: []string{"/bin/sh", "-euc", scriptShrink},
		Env:      []string{"LIMIT=" + strconv.FormatInt(s.s.Packages>>10, 10)},
		Labels:   map[string]string{LabelInstallation: s.s.Installation, LabelBuild: "", LabelAttempt: ""},
		ReadOnly: true, Mounts: []docker.Mount{s.downloads(target, false)}, LogSize: "1m", PIDs: 64,
	})
	if err != nil {
		return err
	}
	defer s.RemoveLater(writer)
	err = s.docker.Extract(ctx, writer, PackagesDir, func(w io.Writer) error { return copyPackages(w, in, first) })
	if err != nil {
		return err
	}
	exit, err := s.docker.Run(ctx, writer, 0, io.Discard, io.Discard)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("the downloads of target %q could not be examined: exit code %d", target, exit.Code)
	}
	return err
}

// nextPackage finds the next file of the form ROOT/PACKAGE MANAGER/REPOSITORY/NAME.rpm; nothing else is taken.
func nextPackage(in *tar.Reader) (*tar.Header, error) {
	for {
		h, err := in.Next()
		if err != nil {
			return nil, err
		}
		// the first is the directory that was asked for
		parts := strings.Split(strings.TrimPrefix(path.Clean("/"+h.Name), "/"), "/")
		if h.Typeflag != tar.TypeReg || h.Size > maxPackage || len(parts) != 5 || !strings.HasSuffix(h.Name, ".rpm") {
			continue
		}
		return &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(parts[1:]...), Mode: 0o644, Size: h.Size, ModTime: time.Now(),
			Format: tar.FormatPAX,
		}, nil
	}
}

func copyPackages(w io.Writer, in *tar.Reader, h *tar.Header) error {
	out := tar.NewWriter(w)
	for {
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		var err error
		if h, err = nextPackage(in); errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
	}
}

// pruneDownloads removes the volumes of targets that have no root any more.
func (s *Store) pruneDownloads(ctx context.Context, entries []Entry) error {
	used := map[string]bool{}
	for _, e := range entries {
		used[e.Target] = used[e.Target] || !e.Outdated
	}
	return s.removeDownloads(ctx, func(v docker.Volume) bool {
		return !v.Created.IsZero() && !used[v.Labels[labelTarget]] && time.Since(v.Created) >= inUse
	})
}

// RemoveDownloads removes the downloaded packages of all targets.
func (s *Store) RemoveDownloads(ctx context.Context) error {
	return s.removeDownloads(ctx, func(docker.Volume) bool { return true })
}

func (s *Store) removeDownloads(ctx context.Context, remove func(docker.Volume) bool) error {
	volumes, err := s.docker.Volumes(ctx, s.ours(), labelKind+"="+kindPackages)
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range volumes {
		if remove(v) {
			errs = append(errs, s.docker.RemoveVolume(ctx, v.Name))
		}
	}
	return errors.Join(errs...)
}
