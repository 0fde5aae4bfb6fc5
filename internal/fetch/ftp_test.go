package fetch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// ftpServer serves one file, and breaks its first transfers off in the middle.
type ftpServer struct {
	file    string
	changed string // the answer to MDTM; empty: the command is unknown
	breaks  int    // transfers that break off
	data    string // what it calls the address of its data connections; empty: it supports EPSV
	refuse  bool   // has no such file
	mu      sync.Mutex
	said    []string // commands
}

func (s *ftpServer) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.session(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "ftp://" + l.Addr().String()
}

func (s *ftpServer) session(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	answer := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
	var data net.Listener
	listen := func() int {
		var err error
		if data, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return 0
		}
		_ = data.(*net.TCPListener).SetDeadline(time.Now().Add(2 * time.Second))
		return data.Addr().(*net.TCPAddr).Port
	}
	offset := 0
	answer("220 hello")
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		command, arg, _ := strings.Cut(lines.Text(), " ")
		s.mu.Lock()
		s.said = append(s.said, lines.Text())
		s.mu.Unlock()
		switch command {
		case "USER":
			answer("331 password?")
		case "PASS":
			if arg == "wrong" {
				answer("530 no")
				continue
			}
			answer("230 in")
		case "FEAT":
			answer("211-features\r\n MDTM\r\n211 end")
		case "TYPE":
			answer("200 binary")
		case "SIZE":
			answer(fmt.Sprintf("213 %d", len(s.file)))
		case "MDTM":
			if s.changed == "" {
				answer("502 what?")
				continue
			}
			answer("213 " + s.changed)
		case "EPSV":
			if s.data != "" {
				answer("502 what?")
				continue
			}
			answer(fmt.Sprintf("229 here (|||%d|)", listen()))
		case "PASV":
			port := listen()
			answer(fmt.Sprintf("227 here (%s,%d,%d)", s.data, port>>8, port&255))
		case "REST":
			_, _ = fmt.Sscan(arg, &offset)
			answer("350 from there")
		case "RETR":
			s.transfer(data, offset, answer)
			offset = 0
		case "QUIT":
			answer("221 bye")
			return
		default:
			answer("502 what?")
		}
	}
}

func (s *ftpServer) transfer(data net.Listener, offset int, answer func(string)) {
	defer data.Close()
	if s.refuse {
		answer("550 no such file")
		return
	}
	to, err := data.Accept()
	if err != nil {
		answer("425 no connection")
		return
	}
	answer("150 here it comes")
	rest := s.file[offset:]
	s.mu.Lock()
	broken := s.breaks > 0
	s.breaks--
	s.mu.Unlock()
	if broken {
		_, _ = io.WriteString(to, rest[:len(rest)/2])
		_ = to.Close()
		answer("426 broken off")
		return
	}
	_, _ = io.WriteString(to, rest)
	_ = to.Close()
	answer("226 done")
}

func (s *ftpServer) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.said {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func TestFTP(t *testing.T) {
	t.Parallel()
	known := []checksum.Checksum{sha(payload)}
	for name, s := range map[string]*ftpServer{
		"whole":            {changed: "20240101000000"},
		"broken off":       {changed: "20240101000000", breaks: 2},
		"broken, no times": {breaks: 2},
		"PASV":             {data: "127,0,0,1"},
	} {
		t.Run(name, func(t *testing.T) {
			s.file = payload
			breaks := s.breaks
			text, _, err := fetch(t, newClient(t, nil), known, s.start(t)+"/pub/x.tar.gz")
			if err != nil || text != payload {
				t.Fatalf("%v, %d bytes", err, len(text))
			}
			if want := breaks * min(len(s.changed), 1); s.count("REST") != want ||
				s.count("RETR /pub/x.tar.gz")+s.count("RETR pub/x.tar.gz") != breaks+1 {
				t.Errorf("taken up %d times, want %d; the server heard %q", s.count("REST"), want, s.said)
			}
			if s.count("USER anonymous") != breaks+1 {
				t.Errorf("the server got %q", s.said)
			}
		})
	}
}

func TestFTPFailures(t *testing.T) {
	t.Parallel()
	gone := &ftpServer{refuse: true}
	_, _, err := fetch(t, newClient(t, nil), nil, gone.start(t)+"/x")
	wantFailure(t, err, "550", "no such file", "correct the URL")

	_, _, err = fetch(t, newClient(t, nil), nil, strings.Replace((&ftpServer{}).start(t), "//", "//ann:wrong@", 1)+"/x")
	wantFailure(t, err, "530")

	large := &ftpServer{file: payload}
	_, _, err = fetch(t, newClient(t, func(o *Options) { o.MaxFile = 1000 }), nil, large.start(t)+"/x")
	wantFailure(t, err, "more than 1000 bytes")

	broken := &ftpServer{file: payload, breaks: 1 << 20}
	_, _, err = fetch(t, newClient(t, func(o *Options) { o.Tries = 3 }), nil, broken.start(t)+"/x")
	wantOurs(t, err, "426", "after 3 tries")
}

// A data connection goes where the control connection went, not where the server says; and both are checked.
func TestFTPAddresses(t *testing.T) {
	t.Parallel()
	s := &ftpServer{file: payload, data: "169,254,169,254"}
	url := s.start(t)
	if text, _, err := fetch(t, newClient(t, nil), nil, url+"/x"); err != nil || text != payload {
		t.Errorf("%v", err)
	}
	named := newClient(t, func(o *Options) { o.Allow = []string{"localhost"} })
	if text, _, err := fetch(t, named, nil, strings.Replace(url, "127.0.0.1", "localhost", 1)+"/x"); err != nil ||
		text != payload {
		t.Errorf("by name: %v", err)
	}
	_, _, err := fetch(t, newClient(t, func(o *Options) { o.Allow = nil }), nil, url+"/x")
	wantFailure(t, err, "127.0.0.1, which is not a public address")
	var f *rpmflow.Failure
	if !errors.As(err, &f) || s.count("") == 0 {
		t.Errorf("%v", err)
	}
}
