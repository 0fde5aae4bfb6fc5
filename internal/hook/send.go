package hook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

const (
	// dialWait and answerWait bound one delivery: the user who pushes waits. A listener looks at a repository for five
	// seconds at most.
	dialWait, answerWait = 3 * time.Second, 10 * time.Second
	// runWait bounds all deliveries of one push; the others wait in the spool.
	runWait = 20 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 20
)

// verdict says what to do with a delivery.
type verdict int

const (
	none        verdict = iota
	delivered           // it has its answer
	refused             // sending it again gives the same answer
	unreachable         // it can be sent later
)

// result is what came of a delivery: the answer, or why there is none.
type result struct {
	verdict verdict
	answer  api.Push
	why     string
	hint    string
}

type sender struct {
	url, secret string
	client      *http.Client
	transport   *http.Transport
	until       time.Time
}

func newSender(r *Repository) *sender {
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: dialWait}).DialContext, TLSHandshakeTimeout: dialWait,
		ResponseHeaderTimeout: answerWait,
	}
	client := &http.Client{
		Transport: transport, Timeout: answerWait,
		// a POST would become a GET
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &sender{url: r.URL, secret: r.secret, client: client, transport: transport, until: time.Now().Add(runWait)}
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

// send makes one delivery, once: what cannot be delivered now waits in the spool, and no user who pushes waits for it.
func (s *sender) send(ctx context.Context, d forge.GenericDelivery) result {
	if time.Now().After(s.until) {
		return result{verdict: unreachable, why: fmt.Sprintf("the deliveries of this push have taken %s", runWait)}
	}
	body, err := rpmflow.EncodeJSON(d, "")
	if err != nil {
		return result{verdict: refused, why: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return result{verdict: unreachable, why: keyURL + " of the repository is not a URL"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "rpmflow hook")
	req.Header.Set(forge.GenericSignature, forge.Sign(s.secret, body))
	at := giturl.Redact(s.url)
	res, err := s.client.Do(req)
	if err != nil {
		return result{verdict: unreachable, why: fmt.Sprintf("the listener at %s does not answer: %s", at, reason(err))}
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return result{verdict: unreachable, why: fmt.Sprintf("the answer of %s is incomplete: %s", at, reason(err))}
	}
	return classifyAnswer(at, res, raw)
}

// classifyAnswer sorts answers: later the listener can be there again, or be less busy; what it does not take it will
// not take then either.
func classifyAnswer(at string, res *http.Response, raw []byte) result {
	var p httpd.Problem
	_ = json.Unmarshal(raw, &p) // what is not JSON has neither message nor hint
	said := cmp.Or(p.Message, res.Status)
	switch code := res.StatusCode; {
	case code < 300:
		var a api.Push
		if err := json.Unmarshal(raw, &a); err != nil || a.Builds == nil {
			return result{verdict: unreachable,
				why: fmt.Sprintf("what answers at %s is not a listener of rpmflow: correct %s",
					at, keyURL)}
		}
		return result{verdict: delivered, answer: a}
	case code < 400:
		return result{verdict: refused, why: fmt.Sprintf("%s redirects elsewhere (%s)", at, res.Header.Get("Location")),
			hint: "git config " + keyURL + " with that address"}
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout,
		code == http.StatusTooEarly:
		return result{verdict: unreachable, why: fmt.Sprintf("the listener at %s cannot take it now: %s", at, said)}
	}
	if res.StatusCode == http.StatusUnauthorized { // the listener's hint is for those who write clients
		p.Hint = "put the project's webhook secret into the file that git config " + keySecretFile + " names"
	}
	return result{verdict: refused, why: said, hint: p.Hint}
}

// reason is an error of a request without the request.
func reason(err error) string {
	var u *url.Error
	var e net.Error
	switch {
	case errors.As(err, &e) && e.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return "it took too long"
	case errors.As(err, &u):
		return u.Err.Error()
	}
	return err.Error()
}
