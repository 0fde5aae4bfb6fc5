package forge

import "net/http"

// readForgejo reads Forgejo's deliveries. They have Gitea's form, and Gitea's headers in addition to their own.
func readForgejo(h http.Header, body []byte, secret string) (Delivery, error) {
	return readGiteaForm(h, body, secret, "Forgejo")
}
