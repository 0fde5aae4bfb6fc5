package api

import (
	"net/http"
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
)

// Names of the routes. Those of webhooks begin with the prefix, and end with the forge.
const (
	HookPrefix    = "hook."
	SubmitBuild   = "submitBuild"
	ListBuilds    = "listBuilds"
	GetBuild      = "getBuild"
	CancelBuild   = "cancelBuild"
	RetryBuild    = "retryBuild"
	GetLog        = "getLog"
	SubmitPackage = "submitSourcePackage"
	ListProjects  = "listProjects"
	ListTargets   = "listTargets"
	GetOpenAPI    = "getOpenAPI"
	GetArtifact   = "getArtifact"
	GetRepository = "getRepositoryFile"
	GetHealth     = "getHealth"
	GetReadiness  = "getReadiness"
	GetMetrics    = "getMetrics"
	GetIndex      = "getIndex"
)

const (
	mediaJSON = "application/json"
	mediaText = "text/plain; charset=utf-8"
	// MediaSRPM is the media type of an uploaded source package.
	MediaSRPM = "application/x-rpm"
)

// The largest page of builds, and the usual one.
const (
	MaxPage     = 200
	DefaultPage = 50
)

// Routes is the table of all routes.
func Routes() []Route {
	return slices.Concat(hooks(), builds(), configured(), files(), programs())
}

func buildID() Param {
	return Param{Name: "id", In: InPath,
		Text: "Id of a build, or its beginning: at least 4 characters that no other build has."}
}

func idempotencyKey() Param {
	return Param{Name: "Idempotency-Key", In: InHeader,
		Text: "Any text. The same request with the same key builds once, and has the same answer."}
}

func accepted() []Answer {
	return []Answer{
		{Status: http.StatusAccepted, When: "The builds are stored and will be made.", Type: Push{}},
		{Status: http.StatusOK, When: "The same request was answered before (`duplicate`), or nothing is built " +
			"(`reason`).",
			Type: Push{}},
	}
}

func problem(status int, when string) Answer { return Answer{Status: status, When: when} }

func unavailable() Answer {
	return problem(http.StatusServiceUnavailable, "NATS or the list of builds is out of reach. "+
		"Send the same again in a moment: what was accepted is not built twice.")
}

// lookup are the problems of a build's id.
func lookup() []Answer {
	return []Answer{
		problem(http.StatusBadRequest, "The id is malformed, or is the beginning of several ids, which the hint "+
			"lists."),
		problem(http.StatusNotFound, "There is no such build."), unavailable(),
	}
}

// token are the problems of the group Token.
func token() []Answer {
	return []Answer{
		problem(http.StatusUnauthorized, "The token is missing or wrong."),
		problem(http.StatusForbidden,
			"The listener has no token, so that only this machine may, by the name localhost or a loopback address."),
	}
}

// body are the problems of a body in JSON.
func body() []Answer {
	return []Answer{
		problem(http.StatusBadRequest, "The body is not valid JSON, or has unknown fields."),
		problem(http.StatusRequestEntityTooLarge, "The body is larger than `listener.max_body`."),
		problem(http.StatusUnsupportedMediaType, "The body is not declared as JSON."),
	}
}

func texts[T ~string](list []T) (all []string) {
	for _, t := range list {
		all = append(all, string(t))
	}
	return all
}

// hooks has a route for each forge.
func hooks() (all []Route) {
	for _, f := range forge.Forges() {
		all = append(all, Route{
			Name: HookPrefix + f.Name, Method: http.MethodPost, Path: "/hooks/" + f.Name + "/{project}", Access: Signed,
			Summary: "Take a push from " + f.Title + ".",
			Text:    f.Body + " The answer comes once the push is stored.",
			Params: []Param{
				{Name: "project", In: InPath, Text: "Name of a configured project."},
				{Name: f.Header, In: InHeader, Required: true, Text: f.Signature},
				{Name: "repository", In: InQuery,
					Values: texts([]rpmflow.Half{rpmflow.HalfSource, rpmflow.HalfPackaging}),
					Text: "Of a project of layout `split`: which of its repositories was pushed to, if the delivery " +
						"does not say so."},
			},
			Body: &Body{Media: mediaJSON, Form: f.Form, Text: "The delivery."},
			Answers: append(accepted(),
				Answer{Status: http.StatusAccepted, When: "The same, of a delivery that changes several refs.",
					Type: Pushes{}},
				Answer{Status: http.StatusOK, When: "The same, of a delivery that changes several refs.",
					Type: Pushes{}},
				Answer{Status: http.StatusOK, When: "The delivery is not a push.", Type: Ignored{}}),
			Problems: []Answer{
				problem(http.StatusBadRequest,
					"The delivery cannot be read, or does not say which of two repositories it is for."),
				problem(http.StatusUnauthorized, "The signature does not match."),
				problem(http.StatusForbidden, "The project has no webhook secret."),
				problem(http.StatusNotFound, "The project is not configured."),
				problem(http.StatusRequestEntityTooLarge, "The body is larger than `listener.max_body`."),
				problem(http.StatusServiceUnavailable,
					"The push could not be stored for certain. Send the same again: what was accepted is not built "+
						"twice."),
			},
		})
	}
	return all
}

func builds() []Route {
	return []Route{
		{
			Name: SubmitBuild, Method: http.MethodPost, Path: "/api/v1/builds", Access: Token,
			Summary: "Build a project's commit.", Params: []Param{idempotencyKey()},
			Body: &Body{Media: mediaJSON, Checked: true, Type: Submission{}}, Answers: accepted(),
			Problems: slices.Concat(token(), body(), []Answer{
				problem(http.StatusBadRequest, "The project has no such package, target, branch, tag or commit, or "+
					"no targets."),
				problem(http.StatusNotFound, "The project is not configured."),
				problem(http.StatusBadGateway, "The repository's server does not answer."), unavailable(),
			}),
		}, {
			Name: SubmitPackage, Method: http.MethodPost, Path: "/api/v1/builds/srpm", Access: Token, Transfer: true,
			Summary: "Upload a source package and build it.",
			Text:    "Send `Expect: 100-continue` to learn of a refusal before the package is sent.",
			Params: []Param{
				{Name: "project", In: InQuery,
					Text: "Name of a project; may be missing if the package's name is that of a project, or there is " +
						"only one."},
				{Name: "target", In: InQuery, Repeats: true,
					Text: "Name of a target; those of the project when missing."},
				idempotencyKey(),
			},
			Body: &Body{Media: MediaSRPM, Checked: true, Text: "The source package."}, Answers: accepted(),
			Problems: slices.Concat(token(), []Answer{
				problem(http.StatusBadRequest, "The file is not a whole source package, or a parameter is wrong."),
				problem(http.StatusNotFound, "The project is not configured."),
				problem(http.StatusRequestEntityTooLarge, "The package is larger than `listener.max_upload`."),
				problem(http.StatusUnsupportedMediaType, "The body is not declared as "+MediaSRPM+"."),
				problem(http.StatusInternalServerError, "The listener cannot write to its disk."),
				problem(http.StatusServiceUnavailable,
					"The storage or NATS is out of reach. Nothing is queued: send it again."),
				problem(http.StatusInsufficientStorage, "The disk or the storage is full."),
			}),
		}, {
			Name: ListBuilds, Method: http.MethodGet, Path: "/api/v1/builds", Access: Public,
			Summary: "List builds, newest first.",
			Params: []Param{
				{Name: "project", In: InQuery, Text: "Only of this project."},
				{Name: "package", In: InQuery, Text: "Only of this package."},
				{Name: "target", In: InQuery, Text: "Only for this target."},
				{Name: "ref", In: InQuery, Text: "Only of this full ref, branch or tag."},
				{Name: "commit", In: InQuery, Text: "Only of this commit, or of those that begin so."},
				{Name: "push", In: InQuery, Text: "Only of this push."},
				{Name: "state", In: InQuery, Text: "Only in this state.",
					Values: texts([]rpmflow.State{rpmflow.Queued, rpmflow.Running, rpmflow.Finished})},
				{Name: "result", In: InQuery, Text: "Only with this result.", Values: texts(rpmflow.Results())},
				{Name: "kind", In: InQuery, Text: "Only with this kind of failure.",
					Values: texts(rpmflow.FailureKinds())},
				{Name: "limit", In: InQuery, Integer: true, Text: "Builds on a page: 1 to 200, 50 when missing."},
				{Name: "cursor", In: InQuery, Text: "`next` of the page before."},
			},
			Answers: []Answer{{Status: http.StatusOK, When: "A page of builds.", Type: BuildList{}}},
			Problems: []Answer{
				problem(http.StatusBadRequest,
					"A parameter is not known or malformed, or there never was a build with such a name."),
				unavailable(),
			},
		}, {
			Name: GetBuild, Method: http.MethodGet, Path: "/api/v1/builds/{id}", Access: Public,
			Summary:  "Show a build's record.",
			Params:   []Param{buildID()},
			Answers:  []Answer{{Status: http.StatusOK, When: "The record in its latest event.", Type: rpmflow.Build{}}},
			Problems: lookup(),
		}, {
			Name: CancelBuild, Method: http.MethodPost, Path: "/api/v1/builds/{id}/cancel", Access: Token,
			Summary: "End a build.",
			Text:    "A build whose end was asked for can only end as canceled.",
			Params:  []Param{buildID()}, Body: &Body{Media: mediaJSON, Checked: true, Type: Cancellation{},
				Optional: true},
			Answers: []Answer{
				{Status: http.StatusOK, When: "The build has ended.", Type: rpmflow.Build{}},
				{Status: http.StatusAccepted, When: "It runs, and ends as soon as its builder has stopped it.",
					Type: rpmflow.Build{}},
			},
			Problems: slices.Concat(token(), body(), lookup(),
				[]Answer{problem(http.StatusConflict, "The build has ended already, and not by being canceled.")}),
		}, {
			Name: RetryBuild, Method: http.MethodPost, Path: "/api/v1/builds/{id}/retry", Access: Token,
			Summary: "Build what a finished build was made of again.",
			Text: "It has the same commit or source package, package and target, and the project's present " +
				"settings.",
			Params: []Param{buildID(), idempotencyKey()}, Body: &Body{Media: mediaJSON, Checked: true, Optional: true,
				Text: "It is not read."},
			Answers: accepted(),
			Problems: slices.Concat(token(), lookup(), []Answer{
				problem(http.StatusNotFound, "The project is not configured any more."),
				problem(http.StatusConflict, "The build is not finished, or its package or target is not configured "+
					"any more."),
				problem(http.StatusUnsupportedMediaType, "The body is not declared as JSON."),
			}),
		}, {
			Name: GetLog, Method: http.MethodGet, Path: "/api/v1/builds/{id}/log", Access: Public, Transfer: true,
			Summary: "Read a build's log.",
			Text:    "Of a finished build it is the stored log. A stream that is cut off has no last chunk.",
			Params: []Param{buildID(), {Name: "follow", In: InQuery, Values: []string{"true", "false"},
				Text: "`true`: of a build that has not ended also what comes, until its end."}},
			Answers:  []Answer{{Status: http.StatusOK, When: "The log.", Media: mediaText}},
			Problems: append(lookup(), problem(http.StatusNotFound, "The build ended without a log.")),
		},
	}
}

func configured() []Route {
	return []Route{
		{
			Name: ListProjects, Method: http.MethodGet, Path: "/api/v1/projects", Access: Public,
			Summary: "List the configured projects.",
			Answers: []Answer{{Status: http.StatusOK, When: "The projects.", Type: ProjectList{}}},
		}, {
			Name: ListTargets, Method: http.MethodGet, Path: "/api/v1/targets", Access: Public,
			Summary: "List the configured targets.",
			Answers: []Answer{{Status: http.StatusOK, When: "The targets.", Type: TargetList{}}},
		},
	}
}

func files() []Route {
	return []Route{{
		Name: GetArtifact, Method: http.MethodGet, Path: "/artifacts/{key...}", Access: Public, Transfer: true,
		Summary: "Fetch a stored file of a build.",
		Text:    "A build's record has the URLs of its files. Logs are unpacked for clients that do not accept gzip.",
		Params:  []Param{{Name: "key", In: InPath, Text: "`key` of an artifact."}},
		Answers: []Answer{{Status: http.StatusOK, When: "The file.", Media: "application/octet-stream"}},
		Problems: []Answer{problem(http.StatusNotFound, "There is no such file."),
			problem(http.StatusServiceUnavailable, "The storage does not answer.")},
	}, {
		Name: GetRepository, Method: http.MethodGet, Path: "/repos/{path...}", Access: Public, Transfer: true,
		Summary: "Fetch a file of a dnf repository, or list a directory.",
		Text: "`<project>/<target>/<project>.repo` is what `dnf config-manager --add-repo` takes. Parts (Range) and " +
			"conditions (If-None-Match) are supported. A path with a slash at its end, or none, lists a directory: " +
			"as a page, or as JSON with `Accept: application/json`.",
		Params: []Param{{Name: "path", In: InPath, Text: "The file or directory."}},
		Answers: []Answer{{Status: http.StatusOK, When: "The file.", Media: "application/octet-stream"},
			{Status: http.StatusOK, When: "The page of a directory.", Media: "text/html"},
			{Status: http.StatusOK, When: "The directory.", Type: Directory{}},
			{Status: http.StatusFound, When: "It is a directory.", Media: "text/html"},
			{Status: http.StatusPartialContent, When: "The part.", Media: "application/octet-stream"}},
		Problems: []Answer{problem(http.StatusNotFound, "There is no such file or directory."),
			problem(http.StatusServiceUnavailable, "The storage does not answer.")},
	}}
}

func programs() []Route {
	return []Route{
		{
			Name: GetOpenAPI, Method: http.MethodGet, Path: "/api/v1/openapi.json", Access: Public,
			Summary: "Describe the API as OpenAPI 3.1.",
			Answers: []Answer{{Status: http.StatusOK, When: "The document.", Media: mediaJSON}},
		}, {
			Name: GetHealth, Method: http.MethodGet, Path: "/healthz", Access: Probe,
			Summary: "Report that the program runs.",
			Answers: []Answer{{Status: http.StatusOK, When: "It runs.", Type: Status{}}},
		}, {
			Name: GetReadiness, Method: http.MethodGet, Path: "/readyz", Access: Probe,
			Summary: "Report whether the listener takes pushes.",
			Answers: []Answer{{Status: http.StatusOK, When: "It does.", Type: Status{}}},
			Problems: []Answer{problem(http.StatusServiceUnavailable,
				"NATS is away, or the list of builds is not read to its end.")},
		}, {
			Name: GetMetrics, Method: http.MethodGet, Path: "/metrics", Access: Token,
			Summary: "Return the listener's metrics for Prometheus.",
			Answers: []Answer{{Status: http.StatusOK, When: "Metrics in Prometheus' text form.",
				Media: "text/plain; version=0.0.4; charset=utf-8"}},
			Problems: token(),
		}, {
			Name: GetIndex, Method: http.MethodGet, Path: "/{$}", Access: Public, Summary: "List the routes.",
			Answers: []Answer{{Status: http.StatusOK, When: "The routes.", Type: Index{}}},
		},
	}
}
