package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/rpmflow/rpmflow"
)

// ftp takes the rest of a file from an FTP server, in passive mode. Its data connections are dialed by the same rules
// as the others.
func (c *Client) ftp(ctx context.Context, u *url.URL, p *part) (err error) {
	name := strings.TrimPrefix(u.Path, "/")
	if name == "" || strings.ContainsAny(u.Path, "\r\n\x00") {
		return rpmflow.Fail(rpmflow.FailureSource, "correct the Source or Patch line", "the URL names no file")
	}
	user, password := "anonymous", "anonymous"
	if u.User != nil {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	if strings.ContainsAny(user+password, "\r\n\x00") {
		return rpmflow.Fail(rpmflow.FailureSource, "correct the Source or Patch line",
			"the URL's credentials have line breaks in them")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	at := "" // where the control connection went
	server, err := ftp.Dial(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "21")),
		ftp.DialWithDialFunc(func(network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			if host == at {
				host = u.Hostname()
			}
			conn, err := c.dialer.dialAs(ctx, host, network, address)
			if err != nil {
				return nil, err
			}
			if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok && at == "" {
				at = tcp.IP.String()
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() }) // the library's waits end with ctx
			return &boundedConn{conn, c.Stall}, nil
		}))
	if err != nil {
		return explainFTP(ctx, err)
	}
	defer func() { _ = server.Quit() }() // the file is here, or is not
	if err := server.Login(user, password); err != nil {
		return explainFTP(ctx, err)
	}
	size, err := server.FileSize(name)
	if err != nil {
		size = -1 // it cannot say
	}
	if size > p.max {
		return p.tooLarge()
	}
	// The server says nothing of a file's identity but its size and when it was changed, to the second.
	version := ""
	if changed, err := server.GetTime(name); err == nil {
		version = fmt.Sprint(size, " ", changed)
	}
	if version == "" || version != p.validator {
		if err := p.restart(); err != nil {
			return err
		}
		p.validator = version
	}
	body, err := server.RetrFrom(name, uint64(p.have))
	if err != nil {
		return explainFTP(ctx, err)
	}
	err = p.add(body)
	if err = errors.Join(err, body.Close()); err == nil && size >= 0 && p.have != size {
		// the end of a data connection may be one in the middle
		err = fmt.Errorf("received %d of %d bytes", p.have, size)
	}
	return explainFTP(ctx, err)
}

// boundedConn is a connection on which each read and write is bounded.
type boundedConn struct {
	net.Conn
	wait time.Duration
}

func (i *boundedConn) Read(b []byte) (int, error) {
	if err := i.SetReadDeadline(time.Now().Add(i.wait)); err != nil {
		return 0, err
	}
	return i.Conn.Read(b)
}

func (i *boundedConn) Write(b []byte) (int, error) {
	if err := i.SetWriteDeadline(time.Now().Add(i.wait)); err != nil {
		return 0, err
	}
	return i.Conn.Write(b)
}

// explainFTP sorts the server's answers: 5yz is a refusal (RFC 959, 4.2), all else a matter of another try.
func explainFTP(ctx context.Context, err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) && answer.Code >= 500 {
		return rpmflow.Fail(rpmflow.FailureSource, "correct the URL, or commit the file",
			"the server answers %d %.100s",
			answer.Code, answer.Msg)
	}
	if err = explain(ctx, err); err != nil {
		return fmt.Errorf("ftp: %w", err)
	}
	return nil
}
