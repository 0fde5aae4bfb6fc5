package mock

import (
	"context"
	"fmt"
	"strings"
)

// Disk names a directory on the disk of containers and images, where the engine is on this machine; else it is empty.
func (e *Engine) Disk(ctx context.Context) (string, error) {
	if !strings.HasPrefix(e.api.DaemonHost(), "unix://") {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	info, err := e.api.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("engine mock: ask Docker at %s for its directory: %w", e.api.DaemonHost(), err)
	}
	return info.DockerRootDir, nil
}
