package testkit

import (
	"net"
	"sync"
	"testing"
)

// Serve accepts connections until the test ends, and waits for what it has begun with them. It returns its address.
func Serve(t testing.TB, l net.Listener, handle func(net.Conn)) string {
	t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wait.Go(func() { handle(conn); conn.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wait.Wait()
	})
	return l.Addr().String()
}
