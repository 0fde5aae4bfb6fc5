package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

const (
	// lfsType is the content type of the batch API (git-lfs/docs/api/batch.md).
	lfsType = "application/vnd.git-lfs+json"
	// maxBatch is how many objects are asked for at once: git-lfs' own number.
	maxBatch = 100
	// maxAnswer bounds what a server says of them, in bytes.
	maxAnswer = 4 << 20
	lfsHint   = "push the files with git lfs push --all, or check with git lfs fetch that they can be fetched"
)

// lfsClient downloads from one server by its batch API and the transfer "basic". It may be used by many goroutines.
type lfsClient struct {
	*Client
	server lfs.Server
	at     *url.URL

	mu      sync.Mutex
	actions map[string]action // by OID: those that were not used yet
}

// action is what the server says of one object.
type action struct {
	href   string
	header map[string]string
	until  time.Time // zero: it does not expire
	own    bool      // whether the server wants to see our own authorization there
}

// lfs checks the endpoint.
func (c *Client) lfs(server lfs.Server) (*lfsClient, error) {
	u, err := url.Parse(server.Endpoint)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil ||
		u.RawQuery != "" {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "set lfs.url in .lfsconfig to one of http or https",
			"%s is not the address of a Git LFS server", Clean(server.Endpoint))
	}
	own := *c
	if server.Trusted {
		d := *c.dialer
		d.servers = []string{net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u))}
		own.dialer = &d
	}
	own.http = own.client()
	return &lfsClient{Client: &own, server: server, at: u, actions: map[string]action{}}, nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// name is that of an object in messages and records: the address that it really comes from often has a signature in it.
func (l *lfsClient) name(o lfs.Pointer) string { return l.server.Endpoint + "/objects/" + o.OID }

// fetch downloads an object into out, which it truncates. The batch request names those that are wanted next, too.
func (l *lfsClient) fetch(ctx context.Context, o lfs.Pointer, next []lfs.Pointer, out *os.File) (Got, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, fmt.Errorf("it took longer than %s", l.Timeout))
	defer cancel()
	fail := func(err error) (Got, error) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Got{}, fmt.Errorf("download %s: %w", l.name(o), err)
	}
	for first := true; ; first = false {
		a, err := l.action(ctx, o, next)
		if err != nil {
			return fail(err)
		}
		got, err := l.download(ctx, o, a, out)
		var denied *deniedError
		if first && errors.As(err, &denied) { // what we were let in with may have expired while others were downloaded
			continue
		}
		if err != nil {
			return fail(err)
		}
		if got.Size != o.Size {
			return fail(rpmflow.Fail(rpmflow.FailureSource, lfsHint, "it has %d bytes, and %d by its pointer", got.Size,
				o.Size))
		}
		return got, nil
	}
}

// action returns what the server has said of an object, or asks.
func (l *lfsClient) action(ctx context.Context, o lfs.Pointer, next []lfs.Pointer) (action, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.actions[o.OID]; ok {
		delete(l.actions, o.OID)
		if a.until.IsZero() || time.Until(a.until) > 10*time.Second {
			return a, nil
		}
	}
	ask := []lfs.Pointer{o}
	for _, n := range next {
		if _, known := l.actions[n.OID]; !known && n.OID != o.OID && len(ask) < maxBatch {
			ask = append(ask, n)
		}
	}
	var answer lfsAnswer
	err := l.retry(ctx, func() (bool, error) {
		var err error
		answer, err = l.batch(ctx, ask)
		return false, err
	})
	if err != nil {
		return action{}, err
	}
	found := false
	var mine action
	for _, said := range answer.Objects {
		a, err := l.read(said)
		switch {
		case said.OID == o.OID && err != nil:
			return action{}, err
		case said.OID == o.OID:
			mine, found = a, true
		case err == nil: // else it is requested again, and the error reported, when its turn comes
			l.actions[said.OID] = a
		}
	}
	if !found {
		return action{}, rpmflow.Fail(rpmflow.FailureSource, lfsHint, "%s does not mention it", l.at.Host)
	}
	return mine, nil
}

// lfsAnswer is the server's answer to a batch.
type lfsAnswer struct {
	Transfer string      `json:"transfer"`
	HashAlgo string      `json:"hash_algo"`
	Objects  []lfsObject `json:"objects"`
}

type lfsObject struct {
	OID           string `json:"oid"`
	Size          int64  `json:"size"`
	Authenticated bool   `json:"authenticated"`
	Actions       struct {
		Download *struct {
			Href      string            `json:"href"`
			Header    map[string]string `json:"header"`
			ExpiresIn int64             `json:"expires_in"`
			ExpiresAt time.Time         `json:"expires_at"`
		} `json:"download"`
	} `json:"actions"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (l *lfsClient) batch(ctx context.Context, ask []lfs.Pointer) (answer lfsAnswer, err error) {
	type object struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	type ref struct {
		Name string `json:"name"`
	}
	question := struct {
		Operation string   `json:"operation"`
		Transfers []string `json:"transfers"`
		Ref       *ref     `json:"ref,omitempty"`
		Objects   []object `json:"objects"`
		HashAlgo  string   `json:"hash_algo"`
	}{Operation: "download", Transfers: []string{"basic"}, HashAlgo: "sha256"}
	if l.server.Ref != "" {
		question.Ref = &ref{l.server.Ref}
	}
	for _, o := range ask {
		question.Objects = append(question.Objects, object{o.OID, o.Size})
	}
	body, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	ctx, stop := context.WithTimeoutCause(ctx, l.Stall, fmt.Errorf("%s did not answer for %s", l.at.Host, l.Stall))
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.server.Endpoint+"/objects/batch",
		bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	req.Header.Set("User-Agent", "rpmflow")
	req.Header.Set("Accept", lfsType)
	req.Header.Set("Content-Type", lfsType)
	if l.server.Authorization != "" {
		req.Header.Set("Authorization", l.server.Authorization)
	}
	res, err := l.http.Do(req)
	if err != nil {
		return answer, explain(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return answer, lfsStatus(res)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer, explain(ctx, err)
	}
	if err := json.Unmarshal(text, &answer); err != nil || len(text) > maxAnswer {
		return answer, rpmflow.Fail(rpmflow.FailureSource, "check with git lfs env which server is used",
			"%s does not answer as a Git LFS server", l.at.Host)
	}
	if answer.Transfer != "" && answer.Transfer != "basic" || answer.HashAlgo != "" && answer.HashAlgo != "sha256" {
		return answer, rpmflow.Fail(rpmflow.FailureSource, "use a server with the transfer basic and SHA-256",
			"%s wants the transfer %q with %q, which was not offered", l.at.Host, answer.Transfer, answer.HashAlgo)
	}
	return answer, nil
}

// read checks what the server says of one object.
func (l *lfsClient) read(said lfsObject) (a action, err error) {
	if said.Error != nil {
		message := strings.ToValidUTF8(said.Error.Message, "?")
		if code := said.Error.Code; code >= 500 || code == http.StatusTooManyRequests {
			return a, fmt.Errorf("%s answers %d %.200q", l.at.Host, code, message)
		}
		return a, rpmflow.Fail(rpmflow.FailureSource, lfsHint, "%s answers %d %.200q", l.at.Host, said.Error.Code,
			message)
	}
	d := said.Actions.Download
	if d == nil {
		return a, rpmflow.Fail(rpmflow.FailureSource, lfsHint, "%s does not have it", l.at.Host)
	}
	u, err := url.Parse(d.Href)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return a, rpmflow.Fail(rpmflow.FailureSource, lfsHint, "%s names no URL of http or https for it", l.at.Host)
	}
	if l.at.Scheme == "https" && u.Scheme == "http" {
		return a, rpmflow.Fail(rpmflow.FailureSource, "set the server to return https URLs",
			"%s names a URL of http at %s for it, which is not followed from https", l.at.Host, u.Host)
	}
	a = action{href: d.Href, header: d.Header, until: d.ExpiresAt, own: !said.Authenticated}
	if d.ExpiresIn > 0 {
		a.until = time.Now().Add(time.Duration(min(d.ExpiresIn, 1<<31)) * time.Second)
	}
	return a, nil
}

// deniedError is an answer that another authorization may change.
type deniedError struct{ *rpmflow.Failure }

func (e *deniedError) Unwrap() error { return e.Failure }

// lfsStatus sorts the answers that are not what was asked for.
func lfsStatus(res *http.Response) error {
	var f *rpmflow.Failure
	err := status(res)
	if !errors.As(err, &f) {
		return err
	}
	f.Hint = lfsHint
	if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
		f.Hint = "set token of the project to one that may read the repository's Git LFS files; " +
			"a key for ssh does not open them"
		return &deniedError{f}
	}
	return f
}

func (l *lfsClient) download(ctx context.Context, o lfs.Pointer, a action, out *os.File) (Got, error) {
	u, err := url.Parse(a.href)
	if err != nil {
		return Got{}, rpmflow.Fail(rpmflow.FailureSource, lfsHint, "%s names no URL for it", l.at.Host)
	}
	p := &part{File: out, max: l.MaxFile, raise: l.Advice.Raise, refuse: lfsStatus, header: http.Header{}}
	for name, value := range a.header {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Connection", "Content-Length", "Host", "If-Range", "Range", "Te", "Trailer", "Transfer-Encoding",
			"Upgrade",
			"Accept-Encoding":
		default:
			p.header.Set(name, value)
		}
	}
	if a.own && p.header.Get("Authorization") == "" && l.server.Authorization != "" && u.Scheme == l.at.Scheme &&
		u.Hostname() == l.at.Hostname() && portOf(u) == portOf(l.at) {
		p.header.Set("Authorization", l.server.Authorization)
	}
	if err := p.restart(); err != nil {
		return Got{}, err
	}
	err = l.retry(ctx, func() (bool, error) {
		before := p.have
		err := l.get(ctx, u, p)
		return p.have > before, err
	})
	if err != nil {
		return Got{}, err
	}
	return p.check(l.name(o), o.Checksums())
}
