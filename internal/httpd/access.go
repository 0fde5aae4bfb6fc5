package httpd

import (
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// HasToken reports whether a request has the bearer token.
func HasToken(r *http.Request, token string) bool {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// ForLocalName reports whether a request was sent to this machine by a local name. A web page can make a browser send
// requests to a loopback address under a name of its own, so the address alone is not enough.
func ForLocalName(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// OnLoopback reports whether only this machine reaches a socket.
func OnLoopback(socket net.Listener) bool {
	a, ok := socket.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}
