package listener

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/storage"
)

func (l *Listener) artifact(w http.ResponseWriter, r *http.Request) (int, any, *problem) {
	key := r.PathValue("key")
	if !strings.HasPrefix(key, "builds/") {
		return 0, nil, problemf(http.StatusNotFound, "take the URL from the build's record", "there is no artifact %s",
			key)
	}
	return 0, nil, l.send(w, r, key)
}

// send sends a stored object, unpacked for clients that do not accept gzip.
func (l *Listener) send(w http.ResponseWriter, r *http.Request, key string) *problem {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	object, info, err := l.storage.Open(ctx, key)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrKey) {
		return problemf(http.StatusNotFound, "take the URL from the build's record", "there is no artifact %s", key)
	}
	if err != nil {
		return l.unavailable("reading the artifact", err)
	}
	defer func() { _ = object.Close() }()
	h := w.Header()
	var body io.Reader = object
	switch {
	case info.ContentEncoding == "gzip" && !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"):
		unpacked, err := gzip.NewReader(object)
		if err != nil {
			return l.unavailable("unpacking the artifact", err)
		}
		body = unpacked
	case info.ContentEncoding != "":
		h.Set("Content-Encoding", info.ContentEncoding)
		fallthrough
	default:
		h.Set("Content-Length", strconv.FormatInt(info.Size, 10))
	}
	h.Set("Content-Type", info.ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	// Objects never change under their key.
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if r.Method == http.MethodHead {
		return nil
	}
	if err := httpd.Copy(w, body); err != nil {
		l.log.Warn("artifact interrupted", "key", key, "error", err)
		panic(http.ErrAbortHandler) // so that the client sees that it does not have all
	}
	return nil
}
