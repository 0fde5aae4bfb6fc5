package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/retry"
)

const maxRedirects = 10

// client never looks at the environment: a proxy there would connect to any address, in our place.
func (c *Client) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            c.dialer.dial,
			TLSHandshakeTimeout:    20 * time.Second,
			ResponseHeaderTimeout:  c.Stall,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    4,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // what is stored is what the server has
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			from := via[len(via)-1].URL
			switch {
			case len(via) >= maxRedirects:
				return rpmflow.Fail(rpmflow.FailureSource, "name the URL that it ends at", "more than %d redirects",
					maxRedirects)
			case req.URL.Scheme != "https" && req.URL.Scheme != "http":
				return rpmflow.Fail(rpmflow.FailureSource, "name a URL of http, https or ftp",
					"redirected from %s to %s:, which is not followed", from.Host, req.URL.Scheme)
			case from.Scheme == "https" && req.URL.Scheme == "http":
				return rpmflow.Fail(rpmflow.FailureSource, "name a URL that stays with https, or the http one",
					"redirected from https at %s to http at %s, which is not followed", from.Host, req.URL.Host)
			}
			// Nothing of the first request goes on to the next: neither its credentials nor where it came from.
			req.URL.User = nil
			for name := range req.Header {
				if !slices.Contains([]string{"Accept", "Content-Type", "If-Range", "Range", "User-Agent"}, name) {
					req.Header.Del(name)
				}
			}
			return nil
		},
	}
}

// get requests what is missing of the file, and appends what comes.
func (c *Client) get(ctx context.Context, u *url.URL, p *part) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return rpmflow.Fail(rpmflow.FailureSource, "correct the Source or Patch line", "it is not a URL")
	}
	maps.Copy(req.Header, p.header)
	req.Header.Set("User-Agent", "rpmflow")
	req.Header.Set("Accept", "*/*")
	if p.have > 0 && p.validator != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.have))
		req.Header.Set("If-Range", p.validator)
	} else if err := p.restart(); err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return explain(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusPartialContent && req.Header.Get("Range") != "":
		if !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", p.have)) {
			return errors.Join(fmt.Errorf("the server sent another part (%.60q) than was asked for",
				res.Header.Get("Content-Range")), p.restart())
		}
	case res.StatusCode == http.StatusOK:
		if err := p.restart(); err != nil {
			return err
		}
		p.validator = validator(res.Header)
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return errors.Join(errors.New("the server has less of the file than before"), p.restart())
	default:
		return p.refuse(res)
	}
	if res.ContentLength > p.max-p.have {
		return p.tooLarge()
	}
	err = p.add(watch(res.Body, c.Stall, func() { stop(fmt.Errorf("nothing was received for %s", c.Stall)) }))
	return explain(ctx, err)
}

// validator shows that the server's file is still the same: a strong ETag, else the date of its last change.
func validator(h http.Header) string {
	if etag := h.Get("ETag"); etag != "" && !strings.HasPrefix(etag, "W/") {
		return etag
	}
	if h.Get("ETag") != "" {
		return "" // it says that bytes may differ
	}
	return h.Get("Last-Modified")
}

// status sorts the answers that are not a file.
func status(res *http.Response) error {
	what := fmt.Sprintf("%s answers %d %s", res.Request.URL.Host, res.StatusCode, http.StatusText(res.StatusCode))
	switch code := res.StatusCode; {
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout,
		code == http.StatusTooEarly:
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
			return retry.After(errors.New(what), time.Duration(min(seconds, 30))*time.Second)
		}
		return errors.New(what)
	case code == http.StatusNotFound, code == http.StatusGone:
		return rpmflow.Fail(rpmflow.FailureSource, "correct the URL, or commit the file", "%s", what)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return rpmflow.Fail(rpmflow.FailureSource, "use a public URL, or commit the file", "%s", what)
	}
	return rpmflow.Fail(rpmflow.FailureSource, "check with a browser or curl what the URL returns", "%s", what)
}

// explain returns what another try cannot fix. It repeats no URL: that of a redirect may have a signature in it.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var f *rpmflow.Failure
	if errors.As(err, &f) {
		return f
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return rpmflow.Fail(rpmflow.FailureSource, "correct the URL, or commit the file", "there is no host %s",
			dns.Name)
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: "the server's certificate is not trusted",
			Err:  certificate,
			Hint: "use another server, or add its certificate authority to those of the machine that downloads"}
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// stallReader ends a body that sends nothing any more.
type stallReader struct {
	r     io.Reader
	timer *time.Timer
	wait  time.Duration
}

// watch calls stop when a single read takes longer than wait.
func watch(r io.Reader, wait time.Duration, stop func()) io.Reader {
	timer := time.AfterFunc(wait, stop)
	return &stallReader{r, timer, wait}
}

func (s *stallReader) Read(b []byte) (int, error) {
	s.timer.Reset(s.wait)
	n, err := s.r.Read(b)
	s.timer.Stop()
	return n, err
}
