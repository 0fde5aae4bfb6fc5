package mock

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

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
)

// What dnf has downloaded for a target is kept in a volume of the engine. The containers that install packages have it below dnf's own
// directory as a layer that they cannot write to; what they download themselves lies on top of it, and is put into the volume by us when they
// have ended. dnf compares a file that is there with the checksum in the repository's metadata before it uses it.
const (
	inPackages = inRoot + "/packages"
	inNew      = inWork + "/packages" // ROOT/PACKAGE MANAGER/REPOSITORY/FILE, as in the volume
	// kindPackages marks the volumes.
	kindPackages = "packages"
	collectWait  = 10 * time.Minute
	maxPackage   = 8 << 30
)

// scriptShrink removes the oldest downloads until what is left fits.
const scriptShrink = `cd ` + inPackages + `
left=$(du -sk . | cut -f 1)
find . -type f -printf '%T@ %k %p\n' | sort -n | while read -r _ size name; do
	[ "$left" -gt "$LIMIT" ] || break
	rm -f "$name"
	left=$((left - size))
done`

func (e *Engine) volumeOf(target string) string {
	sum := sha256.Sum256([]byte(target))
	return "rpmflow-" + e.s.Installation + "-packages-" + hex.EncodeToString(sum[:])[:keyLength]
}

// packages is the mount of a target's downloads.
func (e *Engine) packages(target string, readOnly bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeVolume, Source: e.volumeOf(target), Target: inPackages, ReadOnly: readOnly,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: map[string]string{LabelInstallation: e.s.Installation, LabelKind: kindPackages, LabelTarget: target}},
	}
}

// collect puts what a container has downloaded into the target's volume. It is of no use to the build that it comes from.
func (e *Engine) collect(id, image, target string) {
	if e.s.Packages <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(e.burials.life, collectWait)
	defer cancel()
	if err := e.collected(ctx, id, image, target); err != nil && e.burials.life.Err() == nil {
		e.s.Logger.Warn("downloaded packages not kept", "target", target, "container", id, "error", err)
	}
}

func (e *Engine) collected(ctx context.Context, id, image, target string) (err error) {
	r, _, err := e.api.CopyFromContainer(ctx, id, inNew)
	if errdefs.IsNotFound(err) {
		return nil // nothing was downloaded
	}
	if err != nil {
		return fmt.Errorf("engine mock: copy packages out of container %s: %w", id, err)
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
	keeper, err := e.librarian(ctx, image, target)
	if err != nil {
		return err
	}
	defer e.bury(keeper)
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(copyPackages(pw, in, first)) // always nil
	}()
	err = e.api.CopyToContainer(ctx, keeper, inPackages, pr, container.CopyToContainerOptions{})
	_ = pr.CloseWithError(errors.New("the engine takes no more"))
	<-done
	if err != nil {
		return fmt.Errorf("engine mock: copy packages into container %s: %w", keeper, err)
	}
	exits, failures := e.api.ContainerWait(ctx, keeper, container.WaitConditionNextExit)
	if err := e.api.ContainerStart(ctx, keeper, container.StartOptions{}); err != nil {
		return fmt.Errorf("engine mock: start container %s: %w", keeper, err)
	}
	select {
	case exit := <-exits:
		if exit.StatusCode != 0 {
			return fmt.Errorf("engine mock: the downloads of target %q could not be looked through: exit code %d", target, exit.StatusCode)
		}
		return nil
	case err := <-failures:
		return fmt.Errorf("engine mock: wait for container %s: %w", keeper, err)
	}
}

// librarian makes the container that may write to a target's downloads. Nothing of a build runs in it.
func (e *Engine) librarian(ctx context.Context, image, target string) (string, error) {
	pids := int64(64)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createWait) // its id is wanted, to remove it
	defer cancel()
	created, err := e.api.ContainerCreate(ctx,
		&container.Config{
			Image: image, User: "0:0", WorkingDir: "/", Entrypoint: []string{"/bin/sh", "-euc", scriptShrink}, Env: []string{"LIMIT=" + strconv.FormatInt(e.s.Packages>>10, 10)},
			Labels: map[string]string{LabelInstallation: e.s.Installation, LabelBuild: "", LabelAttempt: ""},
		},
		&container.HostConfig{
			NetworkMode: "none", CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}, ReadonlyRootfs: true, Mounts: []mount.Mount{e.packages(target, false)},
			Resources: container.Resources{PidsLimit: &pids}, LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
		}, nil, nil, "")
	if err != nil {
		return "", fmt.Errorf("engine mock: create a container of %s: %w", image, err)
	}
	return created.ID, nil
}

// nextPackage finds the next file of the form ROOT/PACKAGE MANAGER/REPOSITORY/NAME.rpm; nothing else is taken.
func nextPackage(in *tar.Reader) (*tar.Header, error) {
	for {
		h, err := in.Next()
		if err != nil {
			return nil, err
		}
		parts := strings.Split(strings.TrimPrefix(path.Clean("/"+h.Name), "/"), "/") // the first one is the directory that was asked for
		if h.Typeflag != tar.TypeReg || h.Size > maxPackage || len(parts) != 5 || !strings.HasSuffix(h.Name, ".rpm") {
			continue
		}
		return &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(parts[1:]...), Mode: 0o644, Size: h.Size, ModTime: time.Now(), Format: tar.FormatPAX}, nil
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
func (e *Engine) pruneDownloads(ctx context.Context, kept []Kept) error {
	targets := map[string]bool{}
	for _, k := range kept {
		targets[k.Target] = targets[k.Target] || !k.Outdated
	}
	return e.removeDownloads(ctx, func(v *volume.Volume) bool {
		made, err := time.Parse(time.RFC3339, v.CreatedAt)
		return err == nil && !targets[v.Labels[LabelTarget]] && time.Since(made) >= settled
	})
}

// RemoveDownloads removes the downloaded packages of all targets.
func (e *Engine) RemoveDownloads(ctx context.Context) error {
	return e.removeDownloads(ctx, func(*volume.Volume) bool { return true })
}

func (e *Engine) removeDownloads(ctx context.Context, remove func(*volume.Volume) bool) error {
	list, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", LabelInstallation+"="+e.s.Installation), filters.Arg("label", LabelKind+"="+kindPackages))})
	if err != nil {
		return fmt.Errorf("engine mock: list volumes: %w", err)
	}
	var errs []error
	for _, v := range list.Volumes {
		if !remove(v) {
			continue
		}
		if err := e.api.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) { // conflict: in use
			errs = append(errs, fmt.Errorf("engine mock: remove volume %s: %w", v.Name, err))
		}
	}
	return errors.Join(errs...)
}
