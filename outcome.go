package rpmflow

import (
	"errors"
	"fmt"
)

// Result is how a build ended.
type Result string

// The results.
const (
	Succeeded Result = "succeeded"
	Failed    Result = "failed"
	// Skipped is the end of a build for an architecture or operating system that the spec excludes.
	Skipped Result = "skipped"
)

// FailureKind says where the cause of a failure is, which decides whether to try again.
type FailureKind string

// The kinds. All but FailureInfrastructure are for the packager or the user to fix, and never retried.
const (
	FailureSource         FailureKind = "source"
	FailureSpec           FailureKind = "spec"
	FailureDependencies   FailureKind = "dependencies"
	FailureBuild          FailureKind = "build"
	FailureTimeout        FailureKind = "timeout"
	FailureCanceled       FailureKind = "canceled"
	FailureInfrastructure FailureKind = "infrastructure"
)

// Results lists how a build can end.
func Results() []Result { return []Result{Succeeded, Failed, Skipped} }

// FailureKinds lists the kinds.
func FailureKinds() []FailureKind {
	return []FailureKind{
		FailureSource, FailureSpec, FailureDependencies, FailureBuild, FailureTimeout, FailureCanceled,
		FailureInfrastructure,
	}
}

// Outcome is the result of a build.
type Outcome struct {
	Result  Result      `json:"result"`
	Kind    FailureKind `json:"kind,omitempty"`
	Phase   Phase       `json:"phase,omitempty"`
	Message string      `json:"message,omitempty"` // what went wrong, on what
	Hint    string      `json:"hint,omitempty"`    // what to do next
	Excerpt []string    `json:"excerpt,omitempty"` // the decisive lines of the log
	// Unchecked is what the engine could not check, so that the result says nothing about it.
	Unchecked []string `json:"unchecked,omitempty"`
}

// Failure is an error whose kind is known. Other errors are failures of the infrastructure.
type Failure struct {
	Kind    FailureKind
	Message string
	Hint    string
	Excerpt []string
	Err     error
}

// Error implements error.
func (f *Failure) Error() string {
	if f.Err != nil {
		return f.Message + ": " + f.Err.Error()
	}
	return f.Message
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Hinted is what to do about it, for package hint.
func (f *Failure) Hinted() string { return f.Hint }

// Fail makes a Failure with a formatted message.
func Fail(kind FailureKind, hint, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// Skip is an error that ends a build as skipped: the package is not meant for the target.
type Skip struct {
	Message string
	Hint    string
}

// Error implements error.
func (s *Skip) Error() string { return s.Message }

// Hinted is what to do about it, for package hint.
func (s *Skip) Hinted() string { return s.Hint }

// OutcomeOf turns what ended a build in a phase into its outcome.
func OutcomeOf(phase Phase, err error) Outcome {
	if err == nil {
		return Outcome{Result: Succeeded}
	}
	if s := (*Skip)(nil); errors.As(err, &s) {
		return Outcome{Result: Skipped, Phase: phase, Message: s.Message, Hint: s.Hint}
	}
	o := Outcome{
		Result: Failed, Kind: FailureInfrastructure, Phase: phase, Message: err.Error(),
		Hint: "the package is not the cause: an operator finds more in the builder's log; " +
			"submit the build again when that is fixed",
	}
	var f *Failure
	if errors.As(err, &f) {
		o.Kind, o.Hint, o.Excerpt = f.Kind, f.Hint, f.Excerpt
	}
	return o
}
