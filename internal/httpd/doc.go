// Package httpd is what all programs that serve HTTP share: the server, routes with their authorisation, answers,
// limits and metrics of requests.
//
// Routes with handlers come in; an http.Handler, and a server that ends gracefully, go out. It is a leaf: every
// package that serves HTTP or reads its answers may import it, and it imports nothing of ours.
package httpd
