// Package storage keeps what a build leaves behind, its RPMs, logs and record, in S3-compatible storage.
//
// In come files, values and keys; out come objects with the right types, checksums that were computed over the very
// bytes that were sent, and addresses under which they can be fetched. Builders and listeners import it; it does not
// depend on builds but the words of the domain, and nothing of whether the storage is embedded (package gateway) or
// real.
package storage
