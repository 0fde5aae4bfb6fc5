package storage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"
)

// Errors for errors.Is. ErrCredentials and ErrNoBucket are ErrRefused too.
var (
	// ErrTemporary: unreachable, overloaded or broken at the moment. The same call may succeed later.
	ErrTemporary = errors.New("storage is not available")
	// ErrRefused: the storage has refused the request, and will do so again until something is changed.
	ErrRefused = errors.New("storage refuses")
	// ErrCredentials: the keys are wrong.
	ErrCredentials = fmt.Errorf("%w the keys", ErrRefused)
	// ErrNoBucket: there is no such bucket.
	ErrNoBucket = fmt.Errorf("%w: there is no such bucket", ErrRefused)
	// ErrFull: it has no space left. It is ErrTemporary too.
	ErrFull = fmt.Errorf("%w: it is full", ErrTemporary)
	// ErrNotFound: there is no such object.
	ErrNotFound = errors.New("no such object")
	// ErrKey: the key is malformed; no request was made.
	ErrKey = errors.New("malformed object key")
)

// Error is a call to the storage that failed. Kind is one of the errors above, or nil when the caller's ctx was
// canceled.
type Error struct {
	Op       string // what was tried
	Object   string // s3://bucket or s3://bucket/key
	Endpoint string
	Kind     error
	Hint     string // what to do; may be empty
	Err      error
}

// Error implements error.
func (e *Error) Error() string {
	msg := fmt.Sprintf("%s %s at %s: ", e.Op, e.Object, e.Endpoint)
	if e.Kind != nil {
		msg += e.Kind.Error() + ": "
	}
	msg += e.Err.Error()
	if c := code(e.Err); c != "" && c != e.Err.Error() {
		msg += " (" + c + ")"
	}
	if e.Hint != "" {
		msg += ": " + e.Hint
	}
	return msg
}

// Hinted is what to do.
func (e *Error) Hinted() string { return e.Hint }

// Unwrap returns kind and cause.
func (e *Error) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.Err}
	}
	return []error{e.Kind, e.Err}
}

// Temporary reports whether the same call is worth another try.
func Temporary(err error) bool { return errors.Is(err, ErrTemporary) }

const opMakeBucket = "make bucket"

func (s *Store) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: "s3://" + s.bucket, Endpoint: s.endpoint, Err: err}
	if key != "" {
		e.Object = s.Address(key)
	}
	e.Kind, e.Hint = classify(err)
	switch {
	case errors.Is(e.Kind, ErrNoBucket) && !s.create:
		e.Hint = "make it, or set s3.create_bucket, or correct s3.bucket"
	case op == opMakeBucket && code(err) == minio.AccessDenied:
		e.Hint = "there is no such bucket, and this account may not make it: make it with another account, " +
			"or correct s3.bucket; `rpmflow config s3` prints its policy"
	}
	return e
}

// classify decides what an error of minio-go means. The codes are those of the S3 API ("Error responses").
func classify(err error) (kind error, hint string) {
	if errors.Is(err, context.Canceled) {
		return nil, ""
	}
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return ErrRefused, "its certificate is not trusted: set s3.ca_file to the certificate of its authority"
	case errors.Is(err, http.ErrSchemeMismatch):
		return ErrRefused, "it does not speak TLS: s3.endpoint should begin with http://"
	}
	switch code(err) {
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "InsufficientCapacity":
		return ErrFull, "free space there, or raise the account's quota"
	case "":
		return ErrTemporary, "" // no answer: the network, or a deadline
	case minio.NoSuchKey:
		return ErrNotFound, ""
	case minio.NoSuchBucket:
		return ErrNoBucket, ""
	case "InvalidAccessKeyId", "XAdminUserNotFound": // the latter is versitygw's
		return ErrCredentials, "the access key is unknown: correct s3.access_key"
	case "SignatureDoesNotMatch":
		return ErrCredentials, "the secret key does not belong to the access key: correct s3.secret_key"
	case "AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect", "IllegalLocationConstraintException":
		return ErrRefused, "correct s3.region or s3.endpoint"
	case "RequestTimeTooSkewed":
		return ErrRefused, "set this machine's clock"
	case minio.AccessDenied, "AllAccessDisabled":
		return ErrRefused, "the bucket has another owner, or its policy does not allow this: " +
			"correct s3.bucket, or set the policy that `rpmflow config s3` prints"
	case "BucketAlreadyExists":
		return ErrRefused, "the bucket belongs to another account: set s3.bucket to another name"
	case "XAmzContentSHA256Mismatch", "BadDigest", "RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable",
		"Throttling", "OperationAborted":
		return ErrTemporary, ""
	}
	switch st := status(err); {
	case st >= http.StatusInternalServerError, st == http.StatusTooManyRequests, st == http.StatusRequestTimeout:
		return ErrTemporary, ""
	}
	return ErrRefused, ""
}

func code(err error) string {
	var answer minio.ErrorResponse
	_ = errors.As(err, &answer) // the zero value otherwise
	return answer.Code
}

func status(err error) int {
	var answer minio.ErrorResponse
	_ = errors.As(err, &answer)
	return answer.StatusCode
}
