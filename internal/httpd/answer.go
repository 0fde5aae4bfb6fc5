package httpd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// WriteWait is how long a client may take to accept the next part of an answer.
const WriteWait = time.Minute

// Problem is the form of every error answer: what failed, and what to do about it.
type Problem struct {
	Message string `json:"error" doc:"What failed, on what, and why."`
	Hint    string `json:"hint" doc:"What to do about it."`
	Status  int    `json:"-"`
}

// Problemf makes a problem with a formatted message.
func Problemf(status int, hint, format string, args ...any) *Problem {
	return &Problem{Message: fmt.Sprintf(format, args...), Hint: hint, Status: status}
}

// Write answers with the problem.
func (p *Problem) Write(w http.ResponseWriter) { WriteJSON(w, p.Status, p) }

// WriteJSON answers with a value, indented for people who read it.
func WriteJSON(w http.ResponseWriter, status int, body any) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(body); err != nil {
		status = http.StatusInternalServerError
		raw.Reset()
		fmt.Fprintf(&raw, "{\"error\": %q, \"hint\": \"report this as a bug\"}\n",
			"the answer cannot be encoded: "+err.Error())
	}
	// A client that never reads would keep the request. A writer that cannot set a deadline does not need one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(WriteWait))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = w.Write(raw.Bytes()) // fails when the client is gone
}

// Error implements error.
func (p *Problem) Error() string { return p.Message + ": " + p.Hint }

// Hinted is what to do about it, for package hint.
func (p *Problem) Hinted() string { return p.Hint }

// ReadProblem reads the problem that an answer has; nil: it has none, so that it is of a program that is not one of
// ours.
func ReadProblem(res *http.Response) *Problem {
	p := &Problem{Status: res.StatusCode}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(p); err != nil || p.Message == "" {
		return nil
	}
	return p
}
