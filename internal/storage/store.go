package storage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

const (
	defaultRegion = "us-east-1"

	dialTimeout = 5 * time.Second
	// maxTries bounds minio-go's own retries (10 by default), which wait up to a second each.
	maxTries = 4
	// callLimit bounds a call that moves no content, with all its tries.
	callLimit = time.Minute
	// minRate is the slowest upload that is still waited for, in bytes per second.
	minRate = 256 << 10
)

// Config says where objects are stored, and with which account.
type Config struct {
	Endpoint  string // http://host[:port] or https://host[:port]
	Region    string // us-east-1 when empty
	Bucket    string
	AccessKey string
	SecretKey string
	// CAFile holds certificates, in PEM, that are trusted besides the system's.
	CAFile string
	// CreateBucket lets Ensure make a bucket that is missing.
	CreateBucket bool
	// PublicURL is a base under which anybody may fetch objects by their keys; empty: nobody else can.
	PublicURL string
	Logger    *slog.Logger
}

// Store is one bucket. It may be used by many at once.
type Store struct {
	endpoint string
	region   string
	bucket   string
	create   bool
	public   string // without a slash at its end
	log      *slog.Logger

	core      *minio.Core
	transport *http.Transport
	fencing   atomic.Int32 // see Repositories.Conditional
	// singlePut is the biggest object that is sent in one request; bigger ones go in parts of partSize.
	singlePut, partSize int64
}

// Open checks the configuration and makes a Store. It does not talk to the network: see Ensure.
func Open(cfg Config) (*Store, error) {
	endpoint, err := parseURL("s3.endpoint", cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if strings.Trim(endpoint.Path, "/") != "" {
		return nil, fmt.Errorf("s3.endpoint: %q has a path: set s3.bucket to the bucket's name", cfg.Endpoint)
	}
	if err := s3utils.CheckValidBucketNameStrict(cfg.Bucket); err != nil {
		return nil, fmt.Errorf("s3.bucket: %q: %w", cfg.Bucket, err)
	}
	if cfg.AccessKey == "" || cfg.SecretKey == "" {
		return nil, errors.New("s3.access_key and s3.secret_key: both are needed")
	}
	if cfg.PublicURL != "" {
		if _, err := parseURL("s3.public_url", cfg.PublicURL); err != nil {
			return nil, err
		}
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	secure := endpoint.Scheme == "https"
	transport, err := newTransport(secure, cfg.CAFile)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure:     secure,
		Region:     cfg.Region,
		Transport:  transport,
		MaxRetries: maxTries,
	})
	if err != nil {
		return nil, fmt.Errorf("s3.endpoint: %q: %w", cfg.Endpoint, err)
	}
	return &Store{
		endpoint: endpoint.Scheme + "://" + endpoint.Host, region: cfg.Region, bucket: cfg.Bucket,
		create: cfg.CreateBucket,
		public: strings.TrimRight(cfg.PublicURL, "/"), log: cfg.Logger,
		core: core, transport: transport, singlePut: maxSinglePut, partSize: defaultPartSize,
	}, nil
}

func parseURL(setting, value string) (*url.URL, error) {
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %q is not a URL: %w", setting, value, err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("%s: %q: want http://host:port or https://host:port", setting, value)
	case u.User != nil:
		return nil, fmt.Errorf("%s: the URL has credentials: set s3.access_key and s3.secret_key instead", setting)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s: %q: remove the query or fragment", setting, value)
	}
	return u, nil
}

// newTransport is minio-go's own, which leaves Content-Encoding alone (DisableCompression), with a shorter dial.
func newTransport(secure bool, caFile string) (*http.Transport, error) {
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	transport.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	if caFile == "" {
		return transport, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("s3.ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any: then there are these only
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("s3.ca_file: %s holds no certificate in PEM", caFile)
	}
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport.TLSClientConfig.RootCAs = pool
	return transport, nil
}

// Close drops idle connections.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// Ensure makes sure that the bucket is there and that our keys may use it, and makes it if that is allowed. An
// account that may not make buckets needs no more than the bucket's being there.
func (s *Store) Ensure(ctx context.Context) error {
	err := s.Healthy(ctx)
	if !errors.Is(err, ErrNoBucket) || !s.create {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err = s.core.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
	if err != nil {
		if code(err) == minio.BucketAlreadyOwnedByYou { // another one of us was faster
			return nil
		}
		return s.fail(opMakeBucket, "", err)
	}
	s.log.Info("bucket made", "bucket", s.bucket, "endpoint", s.endpoint)
	return nil
}

// Healthy checks whether the bucket can be reached with these keys.
func (s *Store) Healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	there, err := s.core.BucketExists(ctx, s.bucket)
	if err == nil && there {
		return nil
	}
	if err != nil && (status(err) == 0 || status(err) >= http.StatusInternalServerError) {
		return s.fail("reach bucket", "", err)
	}
	// The answer to HEAD has no body with a reason: even an unknown access key may look like a missing bucket. A
	// listing is refused with the reason.
	none := minio.ListObjectsOptions{Prefix: "rpmflow-health/", MaxKeys: 1}
	for object := range s.core.ListObjectsIter(ctx, s.bucket, none) {
		if object.Err != nil {
			return s.fail("reach bucket", "", object.Err)
		}
	}
	return nil
}

// Address names an object for people and logs: s3://bucket/key.
func (s *Store) Address(key string) string { return "s3://" + s.bucket + "/" + key }

// URL is where an object can be fetched for ever: below PublicURL, or else its Address, which is not a link.
func (s *Store) URL(key string) string {
	if s.public == "" {
		return s.Address(key)
	}
	return s.public + "/" + s3utils.EncodePath(key)
}
