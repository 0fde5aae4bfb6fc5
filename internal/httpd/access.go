package httpd

import (
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"github.com/rpmflow/rpmflow/internal/netrule"
)

// HasToken reports whether a request has the bearer token.
func HasToken(r *http.Request, token string) bool {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// ForLocalName reports whether a request was sent to this machine by a local name. A web page can make a browser send
// requests to a loopback address under a name of its own, so the address alone is not enough.
func ForLocalName(r *http.Request) bool { return netrule.Loopback(r.Host) }

// OnLoopback reports whether only this machine reaches a socket.
func OnLoopback(socket net.Listener) bool { return netrule.Loopback(socket.Addr().String()) }
