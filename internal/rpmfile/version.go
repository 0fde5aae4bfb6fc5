package rpmfile

import rpm "github.com/sassoftware/go-rpmutils"

// Vercmp orders versions, or releases, as rpm does: negative if a is older than b.
func Vercmp(a, b string) int { return rpm.Vercmp(a, b) }
