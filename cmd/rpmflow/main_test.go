package main

import (
	"os"
	"testing"
)

// asProgram makes the test binary the program itself, for tests that need it as a process.
const asProgram = "TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if _, child := os.LookupEnv("RPMFLOW_CHILD"); child || os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}
