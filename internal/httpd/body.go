package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// drainWait bounds the reading of a body that is refused.
const drainWait = 5 * time.Second

// Body reads a whole body of at most limit bytes. The hint is for those who send more.
func Body(r *http.Request, limit int64, hint string) ([]byte, *Problem) {
	tooLarge := Problemf(http.StatusRequestEntityTooLarge, hint, "the body is larger than %d bytes", limit)
	if r.ContentLength > limit && r.Header.Get("Expect") != "" { // the client waits for this before it sends anything
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, Problemf(http.StatusBadRequest, "send it again", "the body could not be read: %v", err)
	}
	if int64(len(body)) > limit {
		// Read on for a while, so that a client that sends everything before it reads sees the answer.
		_, _ = io.CopyN(io.Discard, r.Body, limit)
		return nil, tooLarge
	}
	return body, nil
}

// Decode reads JSON into a value and refuses fields that this does not have. An empty body leaves the value as it is
// if optional says that it may.
func Decode(body []byte, into any, optional bool, hint string) *Problem {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil || optional && errors.Is(err, io.EOF) {
		return nil
	}
	return Problemf(http.StatusBadRequest, hint, "the body cannot be read: %v", err)
}

// Patient reads the body of a request whose server limits the time of reading: every part has the time, not the whole.
func Patient(w http.ResponseWriter, r *http.Request) (body io.Reader, done func()) {
	control := http.NewResponseController(w)
	return &patientReader{r.Body, control}, func() { _ = control.SetReadDeadline(time.Time{}) }
}

type patientReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(WriteWait))
	return p.r.Read(b)
}

// PatientWriter is w for a body that may be large and is written by others, such as http.ServeContent.
func PatientWriter(w http.ResponseWriter) http.ResponseWriter {
	return patientWriter{w, http.NewResponseController(w)}
}

type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (p patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(WriteWait))
	return p.ResponseWriter.Write(b)
}

// Copy sends a body that may be large; every part has the time that a client may take. Broken is an error of the
// body, of which the client must not take what it has for the whole.
func Copy(w http.ResponseWriter, body io.Reader) (broken error) {
	control := http.NewResponseController(w)
	buffer := make([]byte, 128<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(WriteWait))
			if _, err := w.Write(buffer[:n]); err != nil {
				return nil // the client is gone
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
