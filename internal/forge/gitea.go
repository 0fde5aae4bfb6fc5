package forge

import (
	"cmp"
	"net/http"
	"strings"
)

// Gitea sends GitHub's form without "forced", so the list of files is never complete.
func Gitea() Forge { return giteaForm("Gitea", "github") }

// giteaForm is Gitea or a fork of it, whose headers have another name in them. The signature is of the payload, also
// when that is sent as a field of a form. A wrong one is never replaced by that of a header for other receivers.
func giteaForm(title string, alsoAt ...string) Forge {
	prefix := "X-" + title + "-"
	f := Forge{
		Name: strings.ToLower(title), Title: title, Body: bodyOfForges, Header: prefix + "Signature",
		Signature: "The HMAC-SHA256 of the payload, also of a form's, with the project's secret, in hexadecimal. " +
			"Without it, that of " + hubSignature + " counts.",
		Form: true, event: prefix + "Event", alsoAt: alsoAt,
	}
	f.read = func(h http.Header, body []byte, secret string) (Delivery, error) {
		raw, err := payload(h, body)
		if err != nil {
			return Delivery{}, err
		}
		signature := strings.TrimPrefix(cmp.Or(h.Get(f.Header), h.Get(hubSignature)), signaturePrefix)
		if signature != "" {
			signature = signaturePrefix + signature
		}
		if err := f.verify(secret, raw, signature); err != nil {
			return Delivery{}, err
		}
		return gitHubForm(h, prefix, raw)
	}
	return f
}
