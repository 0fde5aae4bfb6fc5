// Package ready asks a running program over HTTP whether it is ready.
//
// The program's name and URL come in; nil, or the program's own reason and hint, goes out. Commands, health checks,
// doctor and tests import it.
package ready

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/netrule"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// Ask asks the program at url (GET /readyz) once. The error of a program that is not ready is its own reason and hint.
func Ask(ctx context.Context, program, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("%s at %s: %w", program, url, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return hint.Add(fmt.Errorf("%s at %s does not answer: %w", program, url, err), "start it, or look into its log")
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	problem := httpd.ReadProblem(res)
	if problem == nil {
		return hint.Add(fmt.Errorf("the server at %s answers %s", url, res.Status),
			"correct the address: that is not a "+program)
	}
	return hint.Add(fmt.Errorf("%s at %s is not ready: %s", program, url, problem.Message), problem.Hint)
}

// Wait asks until the program is ready or ctx ends.
func Wait(ctx context.Context, program, url string) error {
	return retry.Policy{First: 50 * time.Millisecond, Most: 100 * time.Millisecond}.Do(ctx, func() error {
		return Ask(ctx, program, url)
	})
}

// CheckHere asks the program that listens at an address of this machine, if it runs. It is left out with the error that
// says why it has no address.
func CheckHere(program, address string, err error) doctor.Check {
	if err != nil {
		what, _ := hint.Split(err)
		return func(_ context.Context, f *doctor.Findings) { f.Skip(program, what) }
	}
	return Check(program, "http://"+netrule.Reachable(address), true)
}

// Check asks the program at url. With mayBeDown it is not a failure that nothing listens there.
func Check(program, url string, mayBeDown bool) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		err := Ask(ctx, program, url)
		switch {
		case err == nil:
			f.OK(program, "%s is ready", url)
		case mayBeDown && errors.Is(err, unix.ECONNREFUSED):
			f.Skip(program, "does not run here at the moment: nothing listens at "+url)
		default:
			f.Error(program, doctor.Failed, err)
		}
	}
}
