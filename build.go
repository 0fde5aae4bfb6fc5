package rpmflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Push is a change of one ref that was announced to the listener, and the listener's answer.
type Push struct {
	ID       string    `json:"id"`
	Project  string    `json:"project"`
	Ref      string    `json:"ref"`
	Before   string    `json:"before,omitempty"`
	Commit   string    `json:"commit"`
	Delivery string    `json:"delivery"` // what the id is derived from
	Forge    string    `json:"forge"`    // of package forge, or api
	Pusher   string    `json:"pusher,omitempty"`
	Received time.Time `json:"received"`
	// Builds are the builds of the push. If there are none, Reason says why.
	Builds []Build `json:"builds,omitempty"`
	Reason string  `json:"reason,omitempty"`
	// NotBuilt says, if there are builds, which packages are not built although one might expect it, and why.
	NotBuilt []string `json:"not_built,omitempty"`
	// Half is which of the two repositories of layout split was pushed to.
	Half Half `json:"half,omitempty"`
}

// State is the state of a build.
type State string

// The states, in the order in which a build goes through them.
const (
	Queued   State = "queued"
	Running  State = "running"
	Finished State = "finished"
)

// Phase is a step of a build; each is timed, and a failure names the one it happened in.
type Phase string

// The phases in their order.
const (
	PhaseClaim        Phase = "claim"
	PhaseSources      Phase = "sources"      // fetch the commit, find spec and sources
	PhaseRoot         Phase = "root"         // make the clean build root ready
	PhaseSRPM         Phase = "srpm"         // evaluate the spec, make the source package
	PhaseDependencies Phase = "dependencies" // install the BuildRequires
	PhaseRPMs         Phase = "rpms"         // run the package's own build
	PhaseUpload       Phase = "upload"       // put artifacts and logs into S3
)

// PhaseTime is the time of one phase. Seconds is zero while the phase runs.
type PhaseTime struct {
	Phase   Phase     `json:"phase"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
}

// Build is the whole record of one build: what was asked for, the attempt that runs or ran last, and the result. Every
// event carries it, so a build's last event is its state. It holds no secret. In JSON the parts are one object.
type Build struct {
	BuildRequest

	State State `json:"state"`
	// Attempt counts the claims, beginning with 1: it names the run in events, S3 keys and container labels.
	Attempt int `json:"attempt"`
	// InfrastructureFailures counts the attempts that failed because of the infrastructure. Interrupted attempts do not
	// count.
	InfrastructureFailures int `json:"infrastructure_failures"`
	// LostAttempts counts the attempts whose builder stopped sending heartbeats. After too many of them the build
	// fails.
	LostAttempts int `json:"lost_attempts,omitempty"`

	BuildAttempt

	// Notes are remarks for the packager, of all attempts: how the layout was found, which guarantees an engine lacks.
	Notes []string `json:"notes,omitempty"`
	// Waiting is why a queued build has not started: an entry for each builder that could not start it.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Cancel is set when the build is to be canceled. From then on it can only end as canceled.
	Cancel *Cancel `json:"cancel,omitempty"`

	BuildResult
}

// BuildRequest is what was asked for. It travels in the message of BUILDS, and every attempt starts from that copy: an
// attempt writes the layout and the spec that it has found into its own.
type BuildRequest struct {
	ID      string `json:"id"`
	Push    string `json:"push"`
	Project string `json:"project"`
	Package string `json:"package"`
	Target  string `json:"target"`
	Arch    string `json:"arch"`

	Repository string `json:"repository"` // git URL without credentials
	Ref        string `json:"ref"`
	Commit     string `json:"commit"`
	Layout     Layout `json:"layout"`
	Spec       string `json:"spec,omitempty"`
	// SourcePackage is what is rebuilt if no commit was pushed: Repository, Ref and Commit are empty then.
	SourcePackage *SourcePackage `json:"source_package,omitempty"`
	// Split names both repositories of layout split; Repository, Ref and Commit are those of the one that was pushed
	// to.
	Split *Split `json:"split,omitempty"`
	// Sources and Options are the project's, as they were when the push was received.
	Sources Sources `json:"sources,omitzero"`
	Options Options `json:"options,omitzero"`
	// TimeoutSeconds bounds one attempt from its claim to its upload.
	TimeoutSeconds float64 `json:"timeout_seconds"`
	// Concurrency is the project's limit of builds at once; it is in the request so that builders need no list of
	// projects.
	Concurrency int `json:"concurrency"`
	// RetryOf is the build that this one repeats; empty if it is not a retry.
	RetryOf string `json:"retry_of,omitempty"`

	QueuedAt time.Time `json:"queued_at"`
}

// BuildAttempt is what is recorded of one attempt. The next attempt starts with an empty one.
type BuildAttempt struct {
	Builder string `json:"builder,omitempty"`
	// QueueSequence is the message of BUILDS that the attempt runs under. A build that is queued again keeps it, and
	// Engine.
	QueueSequence uint64 `json:"queue_sequence,omitempty"`
	Engine        string `json:"engine,omitempty"`
	// Containers names the containers of the attempt, newest last.
	Containers []string `json:"containers,omitempty"`
	// Root is what the attempt's build root was made from; only the engine mock has one.
	Root *BuildRoot `json:"root,omitempty"`
	// OwnRepository is the URL of the revision of the project's published repository that BuildRequires are installed
	// from, if Options.UseOwnRepository asks for it and something is published.
	OwnRepository string `json:"own_repository,omitempty"`

	Phase  Phase       `json:"phase,omitempty"`
	Phases []PhaseTime `json:"phases,omitempty"`
	// SourceFiles are the attempt's sources that are not in git.
	SourceFiles []SourceFile `json:"source_files,omitempty"`
	StartedAt   *time.Time   `json:"started_at,omitempty"`
}

// BuildResult is how the build ended and what it made. It is empty until then.
type BuildResult struct {
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Outcome    *Outcome   `json:"outcome,omitempty"`
	Packages   []Package  `json:"packages,omitempty"`
	Artifacts  []Artifact `json:"artifacts,omitempty"`
}

// BuildRoot is the image that a build starts from, and what that image was made from.
type BuildRoot struct {
	Image     string `json:"image"`
	MockImage string `json:"mock_image"`
	// Config is the SHA-256 of mock's configuration as mock expands it.
	Config string `json:"config"`
	// Repositories has the SHA-256 of each repository's repomd.xml, as it was when the root was made.
	Repositories map[string]string `json:"repositories,omitempty"`
	Made         time.Time         `json:"made"`
	// Checked is when the repositories were last checked for changes.
	Checked time.Time `json:"checked"`
	// Stale means that they could not be checked in time, and that the target allows to build nevertheless.
	Stale bool `json:"stale,omitempty"`
}

// Timeout is the bound of one attempt.
func (b Build) Timeout() time.Duration { return time.Duration(b.TimeoutSeconds * float64(time.Second)) }

// Prefix is where the attempt's objects live in the bucket, with a slash at its end.
func (b Build) Prefix() string {
	return fmt.Sprintf("builds/%s/%s/%d/", b.Project, b.ID, b.Attempt)
}

// Clone copies the record so that the copy can change without the original.
func (b Build) Clone() Build {
	if b.Split != nil {
		split := *b.Split
		b.Split = &split
	}
	b.Phases = slices.Clone(b.Phases)
	b.Containers = slices.Clone(b.Containers)
	b.Notes = slices.Clone(b.Notes)
	b.Waiting = slices.Clone(b.Waiting)
	b.SourceFiles = slices.Clone(b.SourceFiles)
	b.Packages = slices.Clone(b.Packages)
	b.Artifacts = slices.Clone(b.Artifacts)
	return b
}

// EnterPhase ends the phase that runs and begins p.
func (b *Build) EnterPhase(p Phase, now time.Time) {
	b.LeavePhase(now)
	b.Phase = p
	b.Phases = append(b.Phases, PhaseTime{Phase: p, Started: now.UTC()})
}

// LeavePhase records how long the phase that runs has taken.
func (b *Build) LeavePhase(now time.Time) {
	if n := len(b.Phases); n > 0 && b.Phases[n-1].Seconds == 0 {
		b.Phases[n-1].Seconds = max(now.Sub(b.Phases[n-1].Started).Seconds(), 1e-6)
	}
}

// Waiting is why one builder cannot start a queued build.
type Waiting struct {
	Builder string    `json:"builder"`
	Reason  string    `json:"reason"`
	Hint    string    `json:"hint,omitempty"`
	Since   time.Time `json:"since"`
}

const (
	mostWaiting = 5                // entries in a record
	staleAfter  = 10 * time.Minute // an older entry makes room for another builder's
)

// Waits adds why a builder does not start the build, in place of its entry so far. It reports whether the entries have
// changed: of many builders only the first few have one, so that they do not replace each other's.
func (b *Build) Waits(w Waiting) bool {
	i := slices.IndexFunc(b.Waiting, func(old Waiting) bool { return old.Builder == w.Builder })
	switch {
	case i >= 0 && b.Waiting[i].Reason == w.Reason:
		return false
	case i >= 0:
	case len(b.Waiting) < mostWaiting:
		b.Waiting = append(b.Waiting, w)
		return true
	default:
		i = slices.IndexFunc(b.Waiting, func(old Waiting) bool { return w.Since.Sub(old.Since) > staleAfter })
		if i < 0 {
			return false
		}
	}
	b.Waiting = append(slices.Delete(slices.Clone(b.Waiting), i, i+1), w)
	return true
}

// Cancel says who has asked to cancel a build, and when.
type Cancel struct {
	By string    `json:"by"` // the name that the request gives, else its address
	At time.Time `json:"at"`
}

// Failure is what ends the build.
func (c Cancel) Failure() *Failure {
	return Fail(FailureCanceled, "rpmflow retry builds the same commit again", "canceled by %s", c.By)
}

// Canceled is the record of a build that ends because Cancel is set. Of what was stored it names only the logs, and no
// packages.
func (b Build) Canceled(now time.Time) Build {
	n := b.Clone()
	n.LeavePhase(now)
	phase := n.Phase
	if phase == "" {
		phase = PhaseClaim // it was not claimed yet
	}
	if n.Outcome == nil || n.Outcome.Kind != FailureCanceled {
		outcome := OutcomeOf(phase, n.Cancel.Failure())
		n.Outcome = &outcome
	}
	finished := now.UTC()
	n.State, n.FinishedAt, n.Packages, n.Waiting = Finished, &finished, nil, nil
	n.Artifacts = slices.DeleteFunc(n.Artifacts, func(a Artifact) bool { return a.Kind != KindLog })
	return n
}

// Package is one RPM or SRPM that a build made, by its NEVRA.
type Package struct {
	Name    string `json:"name"`
	Epoch   int    `json:"epoch"`
	Version string `json:"version"`
	Release string `json:"release"`
	Arch    string `json:"arch"` // "src" for an SRPM
}

// NEVRA is name-[epoch:]version-release.arch, as dnf writes it.
func (p Package) NEVRA() string {
	if p.Epoch != 0 {
		return fmt.Sprintf("%s-%d:%s-%s.%s", p.Name, p.Epoch, p.Version, p.Release, p.Arch)
	}
	return fmt.Sprintf("%s-%s-%s.%s", p.Name, p.Version, p.Release, p.Arch)
}

// MarshalJSON adds the NEVRA as one string, for programs that only show or install the package.
func (p Package) MarshalJSON() ([]byte, error) {
	type fields Package
	return EncodeJSON(struct {
		NEVRA string `json:"nevra"`
		fields
	}{p.NEVRA(), fields(p)}, "")
}

// ArtifactKind says what an artifact is for.
type ArtifactKind string

// The kinds of artifacts.
const (
	KindRPM  ArtifactKind = "rpm"
	KindSRPM ArtifactKind = "srpm"
	KindLog  ArtifactKind = "log"
)

// Artifact is one stored file. SHA256 and Size are of the stored bytes; if ContentEncoding is gzip, those of the
// compressed ones.
type Artifact struct {
	Name            string       `json:"name"`
	Kind            ArtifactKind `json:"kind"`
	Key             string       `json:"key"`
	URL             string       `json:"url"`
	SHA256          string       `json:"sha256"`
	Size            int64        `json:"size"`
	ContentType     string       `json:"content_type"`
	ContentEncoding string       `json:"content_encoding,omitempty"`
	NEVRA           string       `json:"nevra,omitempty"`
}

// EncodeJSON encodes a value for programs: without json.Marshal's escapes for web pages (\u003c for <), which none of
// ours is read by. Indent is what a level is indented by; empty: all is on one line.
func EncodeJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
