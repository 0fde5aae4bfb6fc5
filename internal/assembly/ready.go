package assembly

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
)

// WaitReady waits until the listener at url says that it is ready, within ctx.
func WaitReady(ctx context.Context, url string) error {
	for {
		err := Ready(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Ready asks the listener at url whether it is ready.
func Ready(ctx context.Context, url string) error { return Ask(ctx, config.ForListener, url) }

// Ask asks a program at url whether it is ready; if not, the error is its own reason and way out.
func Ask(ctx context.Context, who config.Program, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("%s at %s: %w", who, url, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return rpmflow.Advise(fmt.Errorf("%s at %s does not answer: %w", who, url, err), "start it, or look into its log")
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what came of it
	var problem struct{ Error, Hint string }
	if err := json.Unmarshal(text, &problem); err != nil || problem.Error == "" {
		return rpmflow.Advise(fmt.Errorf("what answers at %s says %s", url, res.Status), "correct the address: that is no "+string(who))
	}
	return rpmflow.Advise(fmt.Errorf("%s at %s is not ready: %s", who, url, problem.Error), problem.Hint)
}
