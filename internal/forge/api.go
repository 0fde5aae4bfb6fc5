package forge

// API is the name of the listener's own API in the record of a push.
const API = "api"

// SubmissionKey distinguishes a submission from others. A client that sends the same idempotency key again means the
// same submission.
func SubmissionKey(idempotencyKey string) string { return API + " " + idempotencyKey }

// RetryKey distinguishes a request to repeat a build from others.
func RetryKey(build, idempotencyKey string) string {
	return API + " retry " + build + " " + idempotencyKey
}
