package mock

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/rpmflow/rpmflow"
)

// file is one to be copied into a container: content in memory, or a file on disk.
type file struct {
	name    string // absolute, in the container
	mode    int64
	content []byte
	disk    string
}

// What is taken out of a container is bounded, so that a build cannot fill the builder's disk.
const (
	maxResults = 20 << 30
	maxLog     = 1 << 30 // of each log of a build that was stopped
	logsWait   = time.Minute
)

// copyIn streams the files into a container that is not started yet.
func (e *Engine) copyIn(ctx context.Context, id string, files []file) error {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(writeTar(w, files)) // always nil
	}()
	err := e.api.CopyToContainer(ctx, id, "/", r, container.CopyToContainerOptions{})
	_ = r.CloseWithError(errors.New("the engine takes no more"))
	<-done
	if err != nil {
		return fmt.Errorf("engine mock: copy files into container %s: %w", id, err)
	}
	return nil
}

func writeTar(w io.Writer, files []file) error {
	t := tar.NewWriter(w)
	made := map[string]bool{"/": true}
	for _, f := range files {
		if err := writeDirs(t, made, path.Dir(f.name)); err != nil {
			return err
		}
		if err := writeFile(t, f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return t.Close()
}

func writeDirs(t *tar.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	if err := writeDirs(t, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

func writeFile(t *tar.Writer, f file) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.name, "/"), Mode: f.mode, Size: int64(len(f.content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if f.disk == "" {
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(f.content)
		return err
	}
	in, err := os.Open(f.disk)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	h.Size, h.ModTime = info.Size(), info.ModTime()
	if info.Mode()&0o111 != 0 {
		h.Mode |= 0o111
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(t, in, h.Size)
	return err
}

// copyOut takes the regular files of a directory of a stopped container into dir. Nothing in the container decides where they land:
// names are reduced to their last element, and links, devices and directories are left behind.
func (e *Engine) copyOut(ctx context.Context, id, from, dir string) error {
	left := int64(maxResults)
	return e.readOut(ctx, id, from, dir, func(_ string, size int64) (int64, error) {
		if left -= size; left < 0 {
			return 0, rpmflow.Fail(rpmflow.FailureBuild, "make fewer or smaller packages", "the results are larger than %s", inUnits(maxResults))
		}
		return size, nil
	})
}

// copyLogs takes the logs alone, as far as they were written; of a very long one the beginning.
func (e *Engine) copyLogs(ctx context.Context, id, from, dir string) error {
	return e.readOut(ctx, id, from, dir, func(name string, size int64) (int64, error) {
		if !strings.HasSuffix(name, ".log") && name != configLog {
			return 0, nil
		}
		return min(size, maxLog), nil
	})
}

// readOut copies files out of a container; take says how much of a file is wanted.
func (e *Engine) readOut(ctx context.Context, id, from, dir string, take func(name string, size int64) (int64, error)) error {
	r, _, err := e.api.CopyFromContainer(ctx, id, from)
	if errdefs.IsNotFound(err) {
		return nil // mock did not come as far as that
	}
	if err != nil {
		return fmt.Errorf("engine mock: copy results out of container %s: %w", id, err)
	}
	defer func() { _ = r.Close() }()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("engine mock: %w", err)
	}
	if err := readTar(r, dir, take); err != nil {
		return fmt.Errorf("engine mock: copy results out of container %s: %w", id, err)
	}
	return nil
}

func readTar(r io.Reader, dir string, take func(name string, size int64) (int64, error)) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Base(path.Clean("/" + h.Name))
		if h.Typeflag != tar.TypeReg || name == "/" || strings.Count(strings.Trim(h.Name, "/"), "/") != 1 {
			continue
		}
		size, err := take(name, h.Size)
		if err != nil {
			return err
		}
		if size == 0 && h.Size > 0 {
			continue
		}
		if err := writeTo(filepath.Join(dir, name), io.LimitReader(t, size)); err != nil {
			return err
		}
	}
}

func writeTo(name string, r io.Reader) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}
