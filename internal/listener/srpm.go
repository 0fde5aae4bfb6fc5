package listener

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/storage"
)

const (
	// maxUploads is how many source packages are received at once; others wait. Each takes disk.
	maxUploads = 4
	// storeWait is the longest time for storing one. The storage has a limit by size, too.
	storeWait = 2 * time.Hour
)

// uploadsDir has the source packages that are not stored yet.
func (l *Listener) uploadsDir() string { return filepath.Join(l.o.DataDir, "listener", "uploads") }

// sweepUploads removes what a killed listener has left. The lock of the read model excludes another one in this
// directory.
func (l *Listener) sweepUploads() error {
	dir := l.uploadsDir()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return hint.Add(fmt.Errorf("directory of uploads: %w", err), "let the listener write to data_dir")
	}
	return nil
}

// submitSRPM builds a source package that is the request's body: POST /api/v1/builds/srpm?project=…&target=…. It is
// stored before anything is queued, and only when it is whole.
func (l *Listener) submitSRPM(w http.ResponseWriter, r *http.Request) (int, any, *problem) {
	ask := plan.Upload{Project: r.URL.Query().Get("project"), Targets: r.URL.Query()["target"]}
	if refusal := l.planner.Check(ask); refusal != nil {
		return 0, nil, refused(refusal)
	}
	if r.ContentLength > l.o.MaxUpload {
		return 0, nil, l.uploadTooLarge(r.ContentLength)
	}
	// A client need not send what cannot be stored.
	if err := l.reachStorage(r.Context()); err != nil {
		return 0, nil, l.notStored(err)
	}
	select {
	case l.uploading <- struct{}{}:
		defer func() { <-l.uploading }()
	case <-r.Context().Done():
		return 0, nil, problemf(http.StatusServiceUnavailable, "send it again", "the request was aborted")
	}
	file, pkg, p := l.spool(w, r)
	if file != "" {
		defer func() {
			if err := os.Remove(file); err != nil {
				l.log.Warn("an upload's file is not removed", "file", file, "error", err)
			}
		}()
	}
	if p != nil {
		return 0, nil, p
	}
	name, p := l.examine(file, &pkg)
	if p != nil {
		return 0, nil, p
	}
	project, targets, refusal := l.planner.Decide(ask, name)
	if refusal != nil {
		return 0, nil, refused(refusal)
	}
	// From here on the package is stored and built even if the client goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeWait)
	defer cancel()
	if err := l.storage.Uploads().Keep(ctx, pkg.SHA512, pkg.Name, file, pkg.Size); err != nil {
		return 0, nil, l.notStored(err)
	}
	l.log.Info("source package stored", "project", project.Name, "package", pkg.NEVRA, "sha512", pkg.SHA512, "size",
		pkg.Size)
	push := l.planner.SourcePackage(project, pkg, name, targets, idempotencyKey(r))
	rctx, stop := context.WithTimeout(ctx, l.o.RequestTimeout)
	defer stop()
	return l.receive(rctx, push)
}

// spool writes the body to the disk. The file's name is returned with a problem, too, if the file exists.
func (l *Listener) spool(w http.ResponseWriter, r *http.Request) (name string, pkg rpmflow.SourcePackage, _ *problem) {
	file, err := os.CreateTemp(l.uploadsDir(), "upload-*.rpm")
	if err != nil {
		return "", pkg, l.noDisk(err)
	}
	body, received := httpd.Patient(w, r)
	sum := sha512.New()
	var disk diskWriter
	disk.w = file
	n, err := io.Copy(io.MultiWriter(&disk, sum), io.LimitReader(body, l.o.MaxUpload+1))
	received()
	if cerr := file.Close(); cerr != nil && disk.err == nil {
		disk.err = cerr
	}
	switch {
	case disk.err != nil:
		return file.Name(), pkg, l.noDisk(disk.err)
	case err != nil:
		return file.Name(), pkg, problemf(http.StatusBadRequest, "send it again",
			"the upload ended after %d bytes", n)
	case n > l.o.MaxUpload:
		return file.Name(), pkg, l.uploadTooLarge(max(r.ContentLength, 0))
	}
	return file.Name(), rpmflow.SourcePackage{SHA512: hex.EncodeToString(sum.Sum(nil)), Size: n}, nil
}

// examine checks that the file is a whole source package, and returns its name.
func (l *Listener) examine(file string, pkg *rpmflow.SourcePackage) (name string, _ *problem) {
	p, err := rpmfile.CheckSource(file)
	var not *rpmfile.NotSource
	switch {
	case errors.As(err, &not):
		return "", problemf(http.StatusBadRequest, not.Hint, "the uploaded file cannot be built: %s", not.Why)
	case err != nil:
		return "", l.unavailable("reading the source package", err)
	}
	pkg.Name, pkg.NEVRA = fmt.Sprintf("%s-%s-%s.src.rpm", p.Name, p.Version, p.Release), p.String()
	if rpmflow.CheckPackageName(p.Name) != nil || storage.CheckKey("uploads/"+pkg.Name) != nil ||
		strings.ContainsAny(pkg.Name, "/ ") {
		return "", problemf(http.StatusBadRequest, "give a source package as rpmbuild -bs makes it",
			"the uploaded file cannot be built: no package can have the name %.100q", pkg.Name)
	}
	return p.Name, nil
}

// reachStorage checks the storage before a client sends a large body.
func (l *Listener) reachStorage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.o.RequestTimeout)
	defer cancel()
	return l.storage.Healthy(ctx)
}

func (l *Listener) uploadTooLarge(size int64) *problem {
	what := "the source package is larger than"
	if size > l.o.MaxUpload {
		what = fmt.Sprintf("the source package has %d bytes, more than", size)
	}
	return problemf(http.StatusRequestEntityTooLarge,
		"ask an operator to raise listener.max_upload, or build it from a repository",
		"%s the %d that listener.max_upload allows", what, l.o.MaxUpload)
}

// noDisk is the answer when the file cannot be written.
func (l *Listener) noDisk(err error) *problem {
	l.log.Error("source package not received", "directory", l.uploadsDir(), "error", err)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return problemf(http.StatusInsufficientStorage,
			"ask an operator to free space in the listener's data_dir, then send it again; nothing was kept",
			"the listener's disk is full")
	}
	return problemf(http.StatusInternalServerError,
		"ask an operator to let the listener write to its data_dir; its log says more",
		"the source package cannot be written to the listener's disk")
}

// notStored is the answer when the storage does not take it.
func (l *Listener) notStored(err error) *problem {
	l.log.Error("source package not stored", "error", err)
	switch {
	case errors.Is(err, storage.ErrFull):
		return problemf(http.StatusInsufficientStorage,
			"ask an operator to free space in the storage, then send it again", "the storage is full")
	case errors.Is(err, storage.ErrRefused):
		return problemf(http.StatusServiceUnavailable,
			"ask an operator to give the listener's S3 account the rights that `rpmflow config s3` prints; nothing "+
				"is queued",
			"the storage refuses the source package")
	}
	return problemf(http.StatusServiceUnavailable,
		"send it again in a moment: nothing is queued; the listener's log says more", "the storage cannot be reached")
}

// diskWriter distinguishes errors of writing from those of the body.
type diskWriter struct {
	w   io.Writer
	err error
}

func (d *diskWriter) Write(b []byte) (int, error) {
	n, err := d.w.Write(b)
	if err != nil {
		d.err = err
	}
	return n, err
}
