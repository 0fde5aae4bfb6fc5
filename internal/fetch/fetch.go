// Package fetch downloads source files safely: with bounds on size and time,
// never from an address that is not public unless that is allowed, and without handing credentials on.
// Names, URLs and checksums, objects of Git LFS and lists of dist-git come in; files on disk go out, with a record of
// where each came from, or a *rpmflow.Failure if the packager must act. Package source imports it, and programs that
// open the cache; it is independent of commits and specs, and imports leaf packages only.
package fetch

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/netrule"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// Options are the bounds of a Client.
type Options struct {
	// Allow lists what may be connected to although it is not public: host names, addresses, and ranges such as
	// 10.1.0.0/16.
	Allow []string
	// MaxFile is the largest file, in bytes: 1 GiB if zero.
	MaxFile int64
	// Timeout bounds one file with all tries in all places: 30 minutes if zero.
	Timeout time.Duration
	// Stall is how long no byte may come: a minute if zero.
	Stall time.Duration
	// Pause is that before the second try in one place, doubled before each further one: half a second if zero.
	Pause time.Duration
	// Tries in one place: 5 if zero.
	Tries int
	// Advice is what failures advise people to do.
	Advice Advice
	// Cache keeps what was downloaded; nil: nothing does.
	Cache  Cache
	Logger *slog.Logger // slog.Default() if nil
}

// Advice says how to have a setting changed, in words that follow "or". Empty ones name the setting of a builder.
type Advice struct {
	Permit string // to have an address allowed that is not public
	Raise  string // to have MaxFile raised
}

// Client downloads. It may be used by many goroutines.
type Client struct {
	Options
	dialer *dialer
	http   *http.Client
}

// New checks the options.
func New(o Options) (*Client, error) {
	o.Advice.Permit = cmp.Or(o.Advice.Permit, "ask an operator to add the host or address to builder.allow_addresses")
	o.Advice.Raise = cmp.Or(o.Advice.Raise, "ask an operator to raise builder.max_source")
	rules, err := netrule.Parse(o.Allow)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	orElse := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	if o.MaxFile <= 0 {
		o.MaxFile = 1 << 30
	}
	if o.Tries <= 0 {
		o.Tries = 5
	}
	orElse(&o.Timeout, 30*time.Minute)
	orElse(&o.Stall, time.Minute)
	orElse(&o.Pause, 500*time.Millisecond)
	c := &Client{Options: o, dialer: &dialer{rules: rules, permit: o.Advice.Permit}}
	c.http = c.client()
	return c, nil
}

// Dial connects as downloads do: to a public address, or to what is allowed.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.dialer.dial(ctx, network, address)
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Got is what was downloaded.
type Got struct {
	URL    string // the one of the places that had it, without credentials
	SHA512 string
	Size   int64
}

// Fetch downloads into out, which it truncates, from the first of the places that has the file with these checksums.
//
// If every place answers that it does not have it, or has another file, that is a *rpmflow.Failure; if one of them may
// have it later, an error that is worth a retry.
func (c *Client) Fetch(ctx context.Context, places []string, known []checksum.Checksum, out *os.File) (Got, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("it took longer than %s", c.Timeout))
	defer cancel()
	var refused, failed []error
	for _, place := range places {
		got, err := c.from(ctx, place, known, out)
		var f *rpmflow.Failure
		switch {
		case err == nil:
			return got, nil
		case ctx.Err() != nil:
			return Got{}, fmt.Errorf("download %s: %w", Clean(place), context.Cause(ctx))
		case errors.As(err, &f):
			refused = append(refused, err)
		default:
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 || len(refused) == 0 {
		return Got{}, joined(slices.Concat(failed, refused))
	}
	var first *rpmflow.Failure
	errors.As(refused[0], &first)
	return Got{}, &rpmflow.Failure{Kind: rpmflow.FailureSource, Hint: first.Hint, Message: joined(refused).Error()}
}

// joined is several errors on one line, without their kinds.
func joined(errs []error) error {
	text := "no place to download from"
	for i, err := range errs {
		if i == 0 {
			text = err.Error()
			continue
		}
		text += "; " + err.Error()
	}
	return errors.New(text)
}

// from tries one place until it has the whole file, gives up, or the server does not have it.
func (c *Client) from(ctx context.Context, place string, known []checksum.Checksum, out *os.File) (Got, error) {
	u, err := parse(place)
	if err != nil {
		return Got{}, err
	}
	if err := out.Truncate(0); err != nil {
		return Got{}, fmt.Errorf("download %s: %w", Clean(place), err)
	}
	part := &part{File: out, max: c.MaxFile, raise: c.Advice.Raise, refuse: status}
	err = c.retry(ctx, func() (bool, error) {
		before := part.have
		var err error
		if u.Scheme == "ftp" {
			err = c.ftp(ctx, u, part)
		} else {
			err = c.get(ctx, u, part)
		}
		return part.have > before, err
	})
	if err != nil {
		return Got{}, fmt.Errorf("download %s: %w", Clean(place), err)
	}
	return part.check(Clean(place), known)
}

// retry calls once until it succeeds or another try would not help. What makes progress goes on, however slowly: then
// the context is the bound.
func (c *Client) retry(ctx context.Context, once func() (progress bool, err error)) error {
	tries, final := 0, false
	err := retry.Policy{First: c.Pause, Most: 15 * time.Second, Tries: c.Tries}.Do(ctx, func() error {
		progress, err := once()
		tries++
		var f *rpmflow.Failure
		var disk *diskError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil, errors.As(err, &f), errors.As(err, &disk):
			final = true
			return retry.Permanent(err)
		case progress:
			tries = 0
			return retry.Progress(err)
		}
		return err
	})
	if err != nil && !final && tries >= c.Tries {
		err = fmt.Errorf("%w (after %d tries)", err, tries)
	}
	return err
}

// part is the file while it comes.
type part struct {
	*os.File
	have, max int64
	raise     string // as in Advice
	// of the server's file that the bytes so far belong to; empty: they cannot be continued
	validator string
	header    http.Header                    // that the request has, too
	refuse    func(res *http.Response) error // sorts the answers that are not a file
}

// diskError is an error of our own disk, which another try does not fix.
type diskError struct{ error }

func (e *diskError) Unwrap() error { return e.error }

// restart drops what was received.
func (p *part) restart() error {
	p.have, p.validator = 0, ""
	if err := p.Truncate(0); err != nil {
		return &diskError{err}
	}
	return nil
}

func (p *part) tooLarge() error {
	return rpmflow.Fail(rpmflow.FailureSource, p.raise+", if the file is right",
		"it has more than %d bytes, the most that is taken", p.max)
}

// add appends what r contains, up to the limit.
func (p *part) add(r io.Reader) error {
	if _, err := p.Seek(p.have, io.SeekStart); err != nil {
		return &diskError{err}
	}
	buf := make([]byte, 128<<10)
	for {
		n, err := r.Read(buf)
		if p.have+int64(n) > p.max {
			return p.tooLarge()
		}
		if _, werr := p.Write(buf[:n]); werr != nil {
			return &diskError{werr}
		}
		p.have += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// check sums the whole file.
func (p *part) check(from string, known []checksum.Checksum) (Got, error) {
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return Got{}, fmt.Errorf("download %s: %w", from, err)
	}
	sum, size, err := Sum(p.File, known)
	var wrong *WrongSum
	if errors.As(err, &wrong) {
		return Got{}, &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: from + " has " + wrong.Error(),
			Hint: "check which of the two is right: the file may have been replaced, " +
				"or the checksum may be that of an older file"}
	}
	if err != nil {
		return Got{}, fmt.Errorf("download %s: %w", from, err)
	}
	return Got{URL: from, SHA512: sum, Size: size}, nil
}

// WrongSum is content that does not have the checksum that it must have.
type WrongSum struct {
	Want checksum.Checksum
	Got  string
}

func (e *WrongSum) Error() string {
	return fmt.Sprintf("the %s checksum %s, but it must have %s", e.Want.Algorithm, e.Got, e.Want.Hex)
}

// Sum reads r to its end, returns its SHA-512 and size and compares it with what is known; what differs is a *WrongSum.
func Sum(r io.Reader, known []checksum.Checksum) (sha string, size int64, err error) {
	main := sha512.New()
	hashes, writers := make([]hash.Hash, len(known)), []io.Writer{main}
	for i, c := range known {
		if hashes[i] = c.Hash(); hashes[i] == nil {
			return "", 0, fmt.Errorf("unknown checksum algorithm %q", c.Algorithm)
		}
		writers = append(writers, hashes[i])
	}
	if size, err = io.Copy(io.MultiWriter(writers...), r); err != nil {
		return "", size, err
	}
	for i, h := range hashes {
		if got := hex.EncodeToString(h.Sum(nil)); got != known[i].Hex {
			return "", size, &WrongSum{known[i], got}
		}
	}
	return hex.EncodeToString(main.Sum(nil)), size, nil
}

func parse(place string) (*url.URL, error) {
	u, err := url.Parse(place)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "correct the Source or Patch line", "%s is not a URL",
			Clean(place))
	}
	if !slices.Contains([]string{"http", "https", "ftp"}, u.Scheme) {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "use http, https or ftp, or commit the file",
			"%s: nothing is downloaded by %s", Clean(place), u.Scheme)
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Clean is the URL of a download without credentials, for people and records. It is not giturl.Redact, which guesses
// where the credentials of a malformed URL end: ids in the cache are made of it, and files of two hosts must not have
// the same. What net/url cannot parse is never fetched, and is not shown at all.
func Clean(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(a malformed URL)" // it may hold anything
	}
	u.User = nil
	return u.String()
}
