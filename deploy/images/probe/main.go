// Command probe asks URLs for their health in images that have neither a shell nor curl: it ends with 0 when all answer
// 200.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	variable := flag.String("tls-when", "",
		"environment variable: if it is not empty, http:// becomes https://, with any certificate")
	flag.Parse()
	// Only the process behind a loopback address is asked, so the name in its certificate is not checked.
	// #nosec G402
	client := &http.Client{Timeout: 3 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, url := range flag.Args() {
		if *variable != "" && os.Getenv(*variable) != "" {
			url = strings.Replace(url, "http://", "https://", 1)
		}
		if err := ask(client, url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func ask(client *http.Client, url string) error {
	res, err := client.Get(url) //nolint:noctx // the client's time-out bounds it
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // nothing is read
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return nil
}
