// Package gateway is rpmflow's own S3: versitygw over a directory, for installations that have no object storage.
//
// In come a directory, an address, a pair of keys, and the accounts and the policy of a bucket; out comes an S3
// endpoint that answers a write only when the bytes and the directories they are in are synced. It runs in a child
// process, because versitygw changes the working directory and keeps package globals, and that child ends when its
// parent does. The code that assembles a program imports it, and tests that need real S3; all others use S3 through
// package storage.
package gateway
