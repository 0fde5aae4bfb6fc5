package storagetest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/rpmflow/rpmflow/internal/storage"
)

// Unconditional puts a proxy before a storage, which then ignores the conditions of writes as some do: If-Match and
// If-None-Match of a PUT have no effect. The state of a repository is written late, so that writers that nothing keeps
// apart lose what others have written. It ends with the test.
func Unconditional(t testing.TB, cfg storage.Config) storage.Config {
	t.Helper()
	target, err := url.Parse(cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // signed
		if r.In.Method == http.MethodPut && strings.HasSuffix(r.In.URL.Path, "/state.zst") {
			select { // what another writer stores now, this one has not seen when it looked before
			case <-r.In.Context().Done():
			case <-time.After(30 * time.Millisecond):
			}
		}
		if r.In.Method == http.MethodPut && r.In.Header.Get("If-Match")+r.In.Header.Get("If-None-Match") != "" {
			for _, name := range []string{"If-Match", "If-None-Match", "Authorization", "X-Amz-Date"} {
				r.Out.Header.Del(name)
			}
			r.Out = signer.SignV4(*r.Out, cfg.AccessKey, cfg.SecretKey, "", cfg.Region) // the headers are signed
		}
	}}
	server := httptest.NewServer(proxy)
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	cfg.Endpoint = server.URL
	return cfg
}
