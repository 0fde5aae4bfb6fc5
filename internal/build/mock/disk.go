package mock

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk names a directory on the disk of containers and images, where the engine is on this machine; else it is empty.
func (e *Engine) Disk(ctx context.Context) (string, error) {
	if !strings.HasPrefix(e.way.host, "unix://") {
		return "", nil
	}
	if root := e.root.Load(); root != nil { // it stays where it is
		return *root, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	info, err := e.api.Info(ctx)
	if err != nil {
		return "", e.way.explain(err)
	}
	e.root.Store(&info.DockerRootDir)
	return info.DockerRootDir, nil
}

// free asks the system about the engine's disk, where the engine's directory can be seen from here.
func (e *Engine) free(ctx context.Context) (space, bool) {
	root, err := e.Disk(ctx)
	var fs unix.Statfs_t
	if err != nil || root == "" || unix.Statfs(root, &fs) != nil {
		return space{}, false
	}
	return space{int64(fs.Bavail) * fs.Bsize, int64(fs.Blocks) * fs.Bsize}, true
}

// size is what a container has written into its own layer.
func (e *Engine) size(ctx context.Context, id string) (int64, error) {
	info, _, err := e.api.ContainerInspectWithRaw(ctx, id, true)
	if err != nil || info.ContainerJSONBase == nil || info.SizeRw == nil {
		return 0, fmt.Errorf("engine mock: size of container %s: %w", id, err)
	}
	return *info.SizeRw, nil
}
