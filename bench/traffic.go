package main

import (
	"io"
	"net"
	"sync/atomic"
)

// counted passes connections to S3 on, and counts what they carry.
type counted struct {
	socket       net.Listener
	address      string
	stored, read atomic.Int64
}

func count(to string) (*counted, error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counted{socket: socket, address: socket.Addr().String()}
	go func() { // ends with the socket
		for {
			client, err := socket.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			pass := func(to, from net.Conn, n *atomic.Int64) {
				_, _ = io.Copy(io.MultiWriter(to, adds{n}), from) // until one side closes
				_, _ = to.Close(), from.Close()
			}
			go pass(server, client, &c.stored)
			go pass(client, server, &c.read)
		}
	}()
	return c, nil
}

type adds struct{ n *atomic.Int64 }

func (a adds) Write(p []byte) (int, error) {
	a.n.Add(int64(len(p)))
	return len(p), nil
}
