package publisherd

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestLostKey starts a publisher without the key, and asks doctor with the right, another and no key.
func TestLostKey(t *testing.T) {
	t.Parallel()
	s3 := storagetest.Start(t)
	server := testkit.Value(natsserver.Start(natsserver.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0",
		Logger: slog.New(slog.DiscardHandler)}))(t)
	t.Cleanup(server.Close)
	listener, _, err := events.Connect(t.Context(), events.Access{URL: server.URL()}, slog.New(slog.DiscardHandler))
	testkit.Must(t, err)
	listener.Close() // it has made the streams
	cfg := testkit.Value(config.Load(config.Source{For: config.ForPublisher, Env: []string{
		"RPMFLOW_DATA_DIR=" + t.TempDir(), "RPMFLOW_S3_ENDPOINT=" + s3.Endpoint, "RPMFLOW_S3_BUCKET=" + s3.Bucket,
		"RPMFLOW_S3_ACCESS_KEY=" + s3.AccessKey, "RPMFLOW_S3_SECRET_KEY=" + s3.SecretKey,
		"RPMFLOW_S3_REGION=" + s3.Region, "RPMFLOW_NATS_URL=" + server.URL(),
	}}))(t)
	finds := func(key []byte, state doctor.State, text string) {
		t.Helper()
		with := *cfg
		with.Publisher.SigningKey = config.Secret(key)
		report := doctor.Examine(t.Context(), "", func() ([]doctor.Check, error) {
			return []doctor.Check{checkRepositoryKeys(&with)}, nil
		})
		if got := report.Checks[0]; got.State != state || !strings.Contains(got.Found, text) {
			t.Errorf("doctor: %+v", got)
		}
	}
	own, public, err := sign.Generate(sign.Ed25519, "own", "")
	testkit.Must(t, err)
	other, otherPublic, err := sign.Generate(sign.Ed25519, "other", "")
	testkit.Must(t, err)
	finds(nil, doctor.Skipped, "no repository yet")
	finds(own, doctor.OK, "has the keys")

	store := testkit.Value(storage.Open(s3))(t)
	t.Cleanup(store.Close)
	repomd := []byte("<repomd/>")
	signature := testkit.Value(testkit.Value(sign.ParseSigner(own))(t).Detached(t.Context(), repomd))(t)
	for name, content := range map[string][]byte{
		"RPM-GPG-KEY-hello": public, "repodata/repomd.xml": repomd, "repodata/repomd.xml.asc": signature,
	} {
		_, err := store.Repositories().Replace(t.Context(), "repos/hello/host/"+name, content, "", storage.Headers{})
		testkit.Must(t, err)
	}
	finds(nil, doctor.Failed, "the signing key is missing, but repositories are signed with one: such as hello/host")
	finds(other, doctor.Failed, "repository hello/host: check signature: it is signed with an unknown key")
	finds(own, doctor.OK, "has the keys")
	finds(append(other, public...), doctor.OK, "has the keys")
	finds(append(own, otherPublic...), doctor.OK, "has the keys")

	p := Program{Config: cfg, Log: slog.New(slog.DiscardHandler)}
	err = p.Run(t.Context())
	_, do := hint.Split(err)
	file := filepath.Join(cfg.DataDir, KeyFile)
	if !errors.Is(err, errKeyLost) || !strings.Contains(do, "back into "+file) || !strings.Contains(do, "is lost") {
		t.Errorf("a start without the key: %v: %s", err, do)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a new key was made")
	}
}
