package forge

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
)

// readGitea reads Gitea's deliveries. They have GitHub's form without "forced", so their list of files is never
// complete.
func readGitea(h http.Header, body []byte, secret string) (Delivery, error) {
	return readGiteaForm(h, body, secret, "Gitea")
}

// readGiteaForm reads the deliveries of Gitea and of its forks, whose headers have another name in them. The signature
// is of the payload, also when that is sent as a field of a form. A wrong one is never replaced by that of a header for
// other receivers.
func readGiteaForm(h http.Header, body []byte, secret, name string) (Delivery, error) {
	raw, err := payload(h, body)
	if err != nil {
		return Delivery{}, err
	}
	header := "X-" + name + "-Signature"
	signature := strings.TrimPrefix(cmp.Or(h.Get(header), h.Get("X-Hub-Signature-256")), signaturePrefix)
	if signature == "" {
		return Delivery{}, fmt.Errorf("%w: the %s header is empty: set a secret in the webhook's settings",
			ErrSignature,
			header)
	}
	if err := Verify(secret, raw, signaturePrefix+signature); err != nil {
		return Delivery{}, err
	}
	return gitHubForm(h.Get("X-"+name+"-Event"), h.Get("X-"+name+"-Delivery"), raw)
}
