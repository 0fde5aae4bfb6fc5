package listener

import (
	"io"
	"net/http"
	"strings"
)

// body reads the whole body within the limit.
func (l *Listener) body(r *http.Request) ([]byte, *problem) {
	if r.ContentLength > l.o.MaxBody && r.Header.Get("Expect") != "" { // it waits for our word before it sends anything
		return nil, l.tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, l.o.MaxBody+1))
	if err != nil {
		return nil, problemf(http.StatusBadRequest, "send it again", "the body could not be read: %v", err)
	}
	if int64(len(body)) > l.o.MaxBody {
		// Read on for a while, so that a client that sends everything before it listens gets to see the answer.
		_, _ = io.CopyN(io.Discard, r.Body, l.o.MaxBody)
		return nil, l.tooLarge()
	}
	return body, nil
}

func (l *Listener) tooLarge() *problem {
	return problemf(http.StatusRequestEntityTooLarge, "split the push, or raise listener.max_body", "the body is larger than %d bytes", l.o.MaxBody)
}

// isJSON guards against forms that a web page of somebody else makes a browser send.
func isJSON(r *http.Request) bool {
	return strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/json")
}
