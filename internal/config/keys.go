package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// Where the embedded servers listen by default.
const (
	DefaultNATSListen = "127.0.0.1:4222"
	DefaultS3Listen   = "127.0.0.1:7070"
)

// setting is one key with everything about it. Parsing, defaults, templates, dumps and documentation are made from it.
type setting struct {
	path    string // inside its scope: the file, or one entry of a list
	def     string // lists: separated by commas
	doc     string
	example string // in the template; only for keys of list entries
	group   string // the secret that this key is one way to give
	must    bool   // the key has no default
	field
}

// Key describes one key for templates, documentation and flags.
type Key struct {
	Path    string // as in the file: builder.docker.host, or projects[].url in a list
	Env     string // the variable that sets it; empty in lists
	Default string
	Doc     string
	Type    string
	Secret  bool
}

// Keys lists every key that file, environment and flags can set, in the order of the template.
func Keys() []Key { return describe("", new(Config).settings(nil)) }

// ListKeys lists the keys of the entries of targets, projects and their packages, which only the file can set.
func ListKeys() []Key {
	return slices.Concat(
		describe("targets[]", targetSettings(new(rpmflow.Target))),
		describe("projects[]", projectSettings(new(rpmflow.Project), nil)),
		describe("projects[].packages[]", packageSettings(new(rpmflow.PackageSource))))
}

func describe(scope string, settings []setting) []Key {
	keys := make([]Key, 0, len(settings))
	for _, s := range settings {
		k := Key{Path: within(scope, s.path), Default: s.def, Doc: s.doc, Type: s.typ, Secret: s.secret}
		if scope == "" {
			k.Env = envOf(s.path)
		}
		keys = append(keys, k)
	}
	return keys
}

func envOf(path string) string {
	return "RPMFLOW_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

func within(scope, path string) string {
	if scope == "" {
		return path
	}
	return scope + "." + path
}

// sectionDoc is the documentation of the file's mappings and lists.
func sectionDoc(name string) string {
	return map[string]string{
		"log":            "What the programs log to standard error.",
		"nats":           "The queue and the events: NATS 2.12 or later with JetStream.",
		"s3":             "The storage of packages, logs and sources: anything that speaks S3.",
		"listener":       "What answers webhooks and requests.",
		"builder":        "What takes builds and runs them.",
		"builder.docker": "The container engine of engine mock, and the limits of one build.",
		"git":            "How repositories are reached, and what is kept of them.",
		"embedded":       "The servers inside `rpmflow up`.",
		"publisher":      "What makes signed dnf repositories of finished builds.",
		"gateway":        "The S3 server of `rpmflow s3`: its root account is s3.access_key, its bucket s3.bucket.",
		"targets":        "The build roots.",
		"projects":       "The repositories whose pushes are built.",
		"packages": "A repository with several packages lists them. A push builds those whose files have changed; " +
			"without the list the project is its one package.",
	}[name]
}

// settings binds every scalar key to its field in c. The loader resolves the references of secrets; it may be nil for
// descriptions.
func (c *Config) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "data_dir", def: ".rpmflow", field: dir(&c.DataDir, true, true),
				doc: "Directory of git mirrors, the read model, and the embedded servers' data. " +
					"A relative one starts at the working directory."},
			{path: "public_url", field: webURL(&c.PublicURL, "https://rpmflow.example.com", true, true),
				doc: "URL under which users reach the listener; links to artifacts begin with it. " +
					"Empty: http:// and listener.listen."},
			{path: "log.level", def: "info", doc: "The least severe messages that are logged.",
				field: oneOf(&c.Log.Level, []string{"debug", "info", "warn", "error"},
					slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError)},
			{path: "log.format", def: LogText, field: oneOf(&c.Log.Format, []string{LogText, LogJSON}, LogText,
				LogJSON),
				doc: "text for people, json for programs."},
		},
		c.NATS.settings(l), c.S3.settings(l), c.Listener.settings(l), c.Builder.settings(), c.Git.settings(),
		c.Publisher.settings(l), c.Gateway.settings(l),
		[]setting{
			{path: "embedded.nats_listen", def: DefaultNATSListen, field: address(&c.Embedded.NATSListen),
				doc: "Where the embedded NATS server listens. If the default address is in use, a free port is used."},
			{path: "embedded.s3_listen", def: DefaultS3Listen, field: address(&c.Embedded.S3Listen),
				doc: "Where the embedded S3 server listens. If the default address is in use, a free port is used."},
		})
}

func (n *NATS) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "nats.url", def: "nats://127.0.0.1:4222", field: commas(many(&n.URLs, "list of URLs", checkNATS)),
				doc: "The servers of the cluster. One that answers is enough."},
			{path: "nats.user", field: text(&n.User, "text", anything), doc: "User, with nats.password."},
		},
		secret(l, "nats.password", "Password of nats.user.", &n.Password,
			ForListener, ForBuilder, ForPublisher, ForOperator),
		secret(l, "nats.token", "Token, if the servers require one instead of a user.", &n.Token,
			ForListener, ForBuilder, ForPublisher, ForOperator),
		secret(l, "nats.nkey",
			"Seed of an nkey (SU…), instead of user or token: only its public half is known to the servers.", &n.NKey,
			ForListener, ForBuilder, ForPublisher, ForOperator),
		[]setting{
			{path: "nats.credentials", field: file(&n.Credentials),
				doc: "Credentials file (.creds: JWT and seed), instead of user or token."},
			{path: "nats.ca_file", field: file(&n.CAFile),
				doc: "Certificates (PEM) that sign the servers'; empty: those of the system."},
			{path: "nats.replicas", def: "1",
				doc:   "On how many servers a stream is kept. 3 needs a cluster of at least three.",
				field: oneOf(&n.Replicas, []string{"1", "3"}, 1, 3)},
			{path: "nats.connect_timeout", def: "5s", field: duration(&n.ConnectTimeout),
				doc: "How long one attempt to connect may take."},
			{path: "nats.max_bytes", def: "1GiB", field: size(&n.MaxBytes, 1<<20, false),
				doc: "The largest size of one stream. JetStream reserves it for each stream: " +
					"the servers need several times as much."},
		})
}

func (s *S3) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "s3.endpoint", def: "http://127.0.0.1:7070",
				field: webURL(&s.Endpoint, "https://s3.example.com", false, false),
				doc:   "URL of the storage, without the bucket."},
			{path: "s3.region", def: "us-east-1", doc: "Region of the bucket.",
				field: text(&s.Region, "text", matches(hostName, "a region: write one such as us-east-1"))},
			{path: "s3.bucket", def: "rpmflow", doc: "The bucket for everything that is kept.",
				field: text(&s.Bucket, "text", matches(bucketName,
					"a bucket's name: write 3 to 63 lower-case letters, digits, . and -"))},
		},
		secret(l, "s3.access_key", "Access key; with s3.secret_key.", &s.AccessKey,
			ForListener, ForBuilder, ForPublisher, ForS3, ForOperator),
		secret(l, "s3.secret_key", "Secret key of s3.access_key.", &s.SecretKey,
			ForListener, ForBuilder, ForPublisher, ForS3, ForOperator),
		[]setting{
			{path: "s3.ca_file", field: file(&s.CAFile),
				doc: "Certificates (PEM) that sign the storage's; empty: those of the system."},
			{path: "s3.create_bucket", def: "true", field: boolean(&s.CreateBucket),
				doc: "Whether a missing bucket is made at the start."},
			{path: "s3.public_url", field: webURL(&s.PublicURL, "https://s3.example.com/rpmflow", true, true),
				doc: "URL of the bucket for users, if its objects are public; empty: links go through public_url."},
		})
}

func (n *Listener) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{{path: "listener.listen", def: "127.0.0.1:8080", field: address(&n.Listen),
			doc: "Where the listener listens; :8080 is every interface."}},
		secret(l, "listener.token", "Bearer token for POST /api/v1/builds. Without one only a listener on a loopback "+
			"address accepts submissions.", &n.Token,
			ForListener, ForOperator),
		[]setting{
			{path: "listener.max_body", def: "25MiB", field: size(&n.MaxBody, 1<<10, false),
				doc: "The largest webhook; the default is GitHub's own limit."},
			{path: "listener.max_upload", def: "2GiB", field: size(&n.MaxUpload, 1<<10, false),
				doc: "The largest source package that `rpmflow submit --srpm` may upload. " +
					"It is kept in data_dir until it is stored; at most four at the same time."},
			{path: "listener.request_timeout", def: "10s", field: duration(&n.RequestTimeout),
				doc: "How long the answer to one request may take."},
			{path: "listener.subscribers",
				field: commas(many(&n.Subscribers, "list of names", matches(hostName,
					"a subscriber's name: write letters, digits, . _ and -"))),
				doc: "Subscribers for which the listener keeps a durable consumer of the finished events, " +
					"watch-NAME: those whose NATS user may not make one."},
		})
}

func (p *Publisher) settings(l *loader) []setting {
	key := secret(l, "publisher.signing_key", "Armored OpenPGP keys. The first one signs packages and repositories: a "+
		"private key without a passphrase, or the public half of the one that publisher.signing_command has. "+
		"Users of the packages get the public halves of all: see docs/operations.md about a change of the key. "+
		"Without any the publisher makes a key and keeps it in data_dir/signing-key.asc, where there may be "+
		"several, too.",
		&p.SigningKey, ForPublisher, ForOperator)
	for i := range key {
		if key[i].path != "publisher.signing_key_file" {
			continue
		}
		read := key[i].set
		key[i].set = func(in input) (err error) { // another program can be told the file without the secret
			if err = read(in); err == nil && in.values[0] != "" {
				p.SigningKeyFile, err = in.path()
			}
			return err
		}
	}
	return slices.Concat(
		key,
		[]setting{
			{path: "publisher.signing_command", field: program(&p.SigningCommand),
				doc: "Program that signs in place of a private key in publisher.signing_key: it reads what is to be " +
					"signed from its standard input, and writes a detached OpenPGP signature."},
			{path: "publisher.url", field: webURL(&p.URL, "https://packages.example.com/repos", true, true),
				doc: "URL of repos/ of the bucket for users of the packages. Empty: public_url and /repos, which the " +
					"listener serves."},
			{path: "publisher.jobs", def: "2", field: integer(&p.Jobs, 1),
				doc: "How many repositories are published at the same time."},
			{path: "publisher.status_listen", field: optionalAddress(&p.StatusListen),
				doc: "Where the publisher answers /healthz, /readyz and /metrics, such as 127.0.0.1:8082; " +
					"empty: nowhere."},
		})
}

func (g *Gateway) settings(l *loader) []setting {
	return slices.Concat(
		[]setting{
			{path: "gateway.listen", def: "127.0.0.1:7070", field: address(&g.Listen),
				doc: "Where `rpmflow s3` listens; :7070 is every interface."},
			{path: "gateway.cert_file", field: file(&g.CertFile),
				doc: "Certificate (PEM) for TLS; with gateway.key_file. Empty: no TLS."},
			{path: "gateway.key_file", field: file(&g.KeyFile), doc: "Private key (PEM) of gateway.cert_file."},
		},
		secret(l, "gateway.listener_secret_key", "Secret key of the account listener, which reads builds.",
			&g.ListenerSecretKey, ForS3, ForOperator),
		secret(l, "gateway.builder_secret_key",
			"Secret key of the account builder, which writes builds and sources.", &g.BuilderSecretKey,
			ForS3, ForOperator),
		secret(l, "gateway.publisher_secret_key",
			"Secret key of the account publisher, which reads builds and writes repositories.", &g.PublisherSecretKey,
			ForS3, ForOperator),
	)
}

// notEmpty refuses an empty name. Whether the target is defined is checked when all targets are read.
func notEmpty(s string) error {
	if s == "" {
		return fmt.Errorf("%s is not a target: write the name of one, or leave targets out for all", quote(s))
	}
	return nil
}

// commas lets one text hold several elements of a list, for keys that the environment can set.
func commas(f field) field {
	set := f.set
	f.set = func(in input) error {
		var values []string
		for _, v := range in.values {
			for part := range strings.SplitSeq(v, ",") {
				values = append(values, strings.TrimSpace(part))
			}
		}
		in.values = values
		return set(in)
	}
	return f
}
