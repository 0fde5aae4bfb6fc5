package httpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits bound what one client can keep of a server.
type Limits struct {
	Header, Read, Write, Idle time.Duration // as in http.Server; 0: no limit
	HeaderBytes               int
	Grace                     time.Duration // how long requests may take to end when the server ends
}

// StatusLimits are those of a server that answers short questions about a program.
func StatusLimits() Limits {
	return Limits{
		Header: 5 * time.Second, Read: 10 * time.Second, Write: 10 * time.Second, Idle: time.Minute,
		HeaderBytes: 16 << 10, Grace: 2 * time.Second,
	}
}

// Serve answers the requests on a socket until ctx ends, then lets those in progress end within the grace. It closes
// the socket. The requests' contexts have the values of ctx, and do not end with it.
func Serve(ctx context.Context, socket net.Listener, h http.Handler, l Limits, log *slog.Logger) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: l.Header, ReadTimeout: l.Read, WriteTimeout: l.Write, IdleTimeout: l.Idle,
		MaxHeaderBytes: l.HeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", socket.Addr(), err)
	case <-ctx.Done():
	}
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Grace)
	defer cancel()
	err := server.Shutdown(sctx)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("requests took longer than the grace and are cut off", "grace", l.Grace)
		err = server.Close()
	}
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return err
}
