package docker

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

	"github.com/docker/docker/api/types/container"
)

// File is a file to be copied into a container: content in memory, or a file on disk.
type File struct {
	Name    string // absolute, in the container
	Mode    int64
	Content []byte
	Disk    string // its path; it may add permission to execute
}

// CopyIn copies files into a container that was not started yet.
func (c *Client) CopyIn(ctx context.Context, id string, files []File) error {
	return c.Extract(ctx, id, "/", func(w io.Writer) error { return writeTar(w, files) })
}

// Extract unpacks the archive that write writes below a directory of a container.
func (c *Client) Extract(ctx context.Context, id, dir string, write func(io.Writer) error) error {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(write(w)) // always nil
	}()
	err := c.api.CopyToContainer(ctx, id, dir, r, container.CopyToContainerOptions{})
	_ = r.CloseWithError(errors.New("the engine takes no more"))
	<-done
	return failed(err, "copy files into container %s", id)
}

// Archive reads a file or directory of a container as a tar archive.
func (c *Client) Archive(ctx context.Context, id, path string) (io.ReadCloser, error) {
	r, _, err := c.api.CopyFromContainer(ctx, id, path)
	return r, failed(err, "copy files out of container %s", id)
}

// CopyOut copies the regular files of a directory of a container into dir; take says how much of a file is wanted.
// Nothing in the container decides where files go: names are reduced to their last element, and links, devices and
// directories are left out. If the container does not have the directory, nothing is copied.
func (c *Client) CopyOut(
	ctx context.Context, id, from, dir string, take func(name string, size int64) (int64, error),
) error {
	r, err := c.Archive(ctx, id, from)
	if IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	return failed(readTar(r, dir, take), "copy files out of container %s", id)
}

func writeTar(w io.Writer, files []File) error {
	t := tar.NewWriter(w)
	made := map[string]bool{"/": true}
	for _, f := range files {
		if err := writeDirs(t, made, path.Dir(f.Name)); err != nil {
			return err
		}
		if err := writeFile(t, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
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
	return t.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755, ModTime: time.Unix(0, 0),
	})
}

func writeFile(t *tar.Writer, f File) error {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Name, "/"), Mode: f.Mode, Size: int64(len(f.Content)),
		ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	}
	if f.Disk == "" {
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(f.Content)
		return err
	}
	in, err := os.Open(f.Disk)
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
