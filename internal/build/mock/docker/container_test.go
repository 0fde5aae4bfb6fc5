package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// exercise takes a container through its life. What goes in and what comes out has no other way than the API.
func exercise(t *testing.T, c *Client) {
	t.Helper()
	ctx := t.Context()
	testkit.Must(t, c.Ping(ctx))
	label := "dev.rpmflow.installation=test-" + rand.Text()
	key, value, _ := strings.Cut(label, "=")
	id, err := c.Create(ctx, Container{
		Image: testkit.Standin(t), Labels: map[string]string{key: value}, LogSize: "1m",
		Command: []string{"/bin/sh", "-c",
			"mkdir /out && cp /in/text /out && wc -c </in/text && echo done >&2; exit 3"},
	})
	testkit.Must(t, err)
	defer func() { testkit.Must(t, c.Remove(context.WithoutCancel(ctx), id)) }()
	text := strings.Repeat("hello\n", 100_000)
	testkit.Must(t, c.CopyIn(ctx, id, []File{{Name: "/in/text", Mode: 0o644, Content: []byte(text)}}))
	var stdout, stderr bytes.Buffer
	exit, err := c.Run(ctx, id, 0, &stdout, &stderr)
	if err != nil || !exit.Ran || exit.Stopped || exit.Code != 3 || strings.TrimSpace(stdout.String()) != "600000" ||
		stderr.String() != "done\n" {
		t.Errorf("%+v, %v: %q, %q", exit, err, stdout.String(), stderr.String())
	}
	dir := t.TempDir()
	testkit.Must(t, c.CopyOut(ctx, id, "/out", dir, func(_ string, size int64) (int64, error) { return size, nil }))
	if got, err := os.ReadFile(filepath.Join(dir, "text")); err != nil || string(got) != text {
		t.Errorf("%d bytes came out: %v", len(got), err)
	}
	testkit.Must(t, c.CopyOut(ctx, id, "/nothing", dir, nil))
	list, err := c.Containers(ctx, label)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Running {
		t.Errorf("containers %+v, %v", list, err)
	}
	info, err := c.Inspect(ctx, id)
	if err != nil || info.ID != id || info.Running || info.Ended.IsZero() || info.Created.IsZero() ||
		info.Labels[key] != value {
		t.Errorf("%+v, %v", info, err)
	}
	if e, err := c.Ending(ctx, id); err != nil || e != (Ending{}) {
		t.Errorf("%+v, %v", e, err)
	}
	image, err := c.Commit(ctx, id, "rpmflow/transport:test", map[string]string{"dev.rpmflow.kind": "test"})
	testkit.Must(t, err)
	images, err := c.Images(ctx, ImageFilter{Labels: []string{label}})
	if err != nil || len(images) != 1 || images[0].ID != image || images[0].Labels["dev.rpmflow.kind"] != "test" ||
		!slices.Equal(images[0].Names, []string{"rpmflow/transport:test"}) {
		t.Errorf("images %+v, %v", images, err)
	}
	testkit.Must(t, c.RemoveImage(ctx, image))
	testkit.Must(t, c.RemoveImage(ctx, image)) // it is gone
	if _, err := c.Image(ctx, image); !IsNotFound(err) {
		t.Errorf("image: %v", err)
	}
}

// TestStop: a container whose context ends is killed, and its files can be read afterwards.
func TestStop(t *testing.T) {
	t.Parallel()
	c := open(t, "unix://"+mocktest.Socket(t), "")
	id, err := c.Create(t.Context(), Container{
		Image: testkit.Standin(t), LogSize: "1m", Command: []string{"/bin/sh", "-c",
			"echo written >/text; echo ready; exec sleep 1000"},
	})
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, c.Remove(context.WithoutCancel(t.Context()), id)) })
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	exit, err := c.Run(ctx, id, 0, writerFunc(func() { stop(why) }), io.Discard)
	if !errors.Is(err, why) || !exit.Ran || !exit.Stopped || exit.Running != nil {
		t.Errorf("%+v, %v", exit, err)
	}
	info, err := c.Inspect(t.Context(), id)
	if err != nil || info.Running {
		t.Errorf("%+v, %v", info, err)
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }
