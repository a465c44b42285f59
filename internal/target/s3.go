package target

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	// cacheControl is what the status listener says too: longer, and a revocation would stay
	// unseen for as long behind whatever caches the object.
	cacheControl = "public, max-age=60"
	// hashHeader is where the hash of an object's content is noted beside it.
	hashHeader = "Sha256"
	// probeName is the one object that is not mirrored: on it is tried whether the server
	// keeps to conditions. It stays, so that no right to delete is needed.
	probeName = ".sigill-probe"
	probeType = "text/plain; charset=utf-8"
	probeText = "Sigill puts lists here. This object is for trying whether two who put at once are kept apart.\n"
)

// S3Config says where an object store is.
type S3Config struct {
	Endpoint string // http[s]://host[:port]
	Bucket   string
	Prefix   string // before each key; empty: none
	Region   string // empty: us-east-1, which most stores but Amazon's take
	// Keys returns the credentials. It is called again after a minute of use, so that
	// what was replaced is taken up.
	Keys func() (Keys, error)
}

// Keys are credentials of an object store. They never print.
type Keys struct {
	AccessKey    string
	SecretKey    string
	SessionToken string // empty: none
}

// Format writes a placeholder for every verb and flag.
func (Keys) Format(w fmt.State, _ rune) { io.WriteString(w, "(keys)") }

// MarshalText returns a placeholder, for JSON and logs.
func (Keys) MarshalText() ([]byte, error) { return []byte("(keys)"), nil }

// S3 is a target in an S3-compatible object store, which must keep to If-Match and
// If-None-Match on PUT.
type S3 struct {
	core   minio.Core
	bucket string
	prefix string
}

// NewS3 returns the target. It connects to nothing.
func NewS3(c S3Config) (*S3, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("object store: %q is not an endpoint http[s]://host[:port]", c.Endpoint)
	}
	if c.Bucket == "" || c.Keys == nil {
		return nil, errors.New("object store: bucket or credentials are missing")
	}
	prefix := strings.Trim(c.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	core, err := minio.NewCore(u.Host, &minio.Options{Creds: credentials.New(&provider{keys: c.Keys}), Secure: u.Scheme == "https",
		Region: c.Region, Transport: transport(), MaxRetries: 1}) // the mirror tries again, and knows when
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	return &S3{core: *core, bucket: c.Bucket, prefix: prefix}, nil
}

func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: objectTime,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   atOnce,
		// A body that arrives decompressed would not be what was put.
		DisableCompression: true,
	}
}

// provider gives minio the keys, and asks for them anew now and then.
type provider struct {
	credentials.Expiry
	keys func() (Keys, error)
}

func (p *provider) Retrieve() (credentials.Value, error) {
	k, err := p.keys()
	if err != nil {
		return credentials.Value{}, err
	}
	p.SetExpiration(time.Now().Add(time.Minute), 0)
	return credentials.Value{AccessKeyID: k.AccessKey, SecretAccessKey: k.SecretKey, SessionToken: k.SessionToken, SignerType: credentials.SignatureV4}, nil
}

func (p *provider) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return p.Retrieve()
}

// Check implements Target: the bucket answers, and conditions are kept. A server that
// ignores a condition it does not know looks as if all were well until two publishers
// write at once, and then a list goes back.
func (s *S3) Check(ctx context.Context) error {
	// A reader of objects need not be allowed to look at buckets, so that the probe itself
	// is the first request.
	for range contests {
		err := s.probe(ctx)
		if !errors.Is(err, ErrChanged) { // somebody else probes too
			return err
		}
	}
	return fmt.Errorf("%w: trying conditions on %s never came to an end", ErrUnavailable, probeName)
}

// errConditions is the verdict on a server that cannot be a target.
var errConditions = errors.New("the object store does not keep to conditions on PUT (If-Match, If-None-Match): with it a list could go back when two put at once, so nothing is put there")

func (s *S3) probe(ctx context.Context) error {
	present, err := s.Look(ctx, probeName)
	if errors.Is(err, ErrNone) {
		version, err := s.put(ctx, probeName, probeContent(), "")
		if err != nil {
			return err
		}
		present.Version = version
	} else if err != nil {
		return err
	}
	// It is there: both conditions must fail now, and the right one hold.
	for _, wrong := range []Version{"", "00000000000000000000000000000000"} {
		if _, err := s.put(ctx, probeName, probeContent(), wrong); err == nil {
			return errConditions
		} else if !errors.Is(err, ErrChanged) {
			return err
		}
	}
	_, err = s.put(ctx, probeName, probeContent(), present.Version)
	return err
}

func probeContent() Content {
	return Content{Body: strings.NewReader(probeText), Size: int64(len(probeText)), SHA256: sha256.Sum256([]byte(probeText)), Type: probeType}
}

// Versioned reports whether the bucket keeps what is replaced, which nothing here needs
// and an operator may want to know.
func (s *S3) Versioned(ctx context.Context) (bool, error) {
	c, err := s.core.GetBucketVersioning(ctx, s.bucket)
	return c.Enabled(), told(err)
}

// Look implements Target.
func (s *S3) Look(ctx context.Context, key string) (Present, error) {
	info, err := s.core.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return Present{}, told(err)
	}
	return presentOf(info)
}

// Open implements Target.
func (s *S3) Open(ctx context.Context, key string) (io.ReadCloser, Present, error) {
	body, info, _, err := s.core.GetObject(ctx, s.bucket, s.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, Present{}, told(err)
	}
	present, err := presentOf(info)
	if err != nil {
		body.Close()
		return nil, Present{}, err
	}
	return body, present, nil
}

func presentOf(info minio.ObjectInfo) (Present, error) {
	p := Present{Version: Version(info.ETag)}
	if p.Version == "" {
		return p, errors.New("the object store names no version (ETag) of its object")
	}
	noted, err := hex.DecodeString(info.UserMetadata[hashHeader])
	if err == nil && len(noted) == len(p.SHA256) {
		copy(p.SHA256[:], noted)
	}
	return p, nil
}

// Put implements Target, in one request whatever the size.
func (s *S3) Put(ctx context.Context, key string, c Content, old Version) (Version, error) {
	return s.put(ctx, key, c, old)
}

func (s *S3) put(ctx context.Context, key string, c Content, old Version) (Version, error) {
	o := minio.PutObjectOptions{ContentType: c.Type, CacheControl: cacheControl, UserMetadata: map[string]string{hashHeader: hex.EncodeToString(c.SHA256[:])}}
	if old == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(string(old))
	}
	// The hash is signed with the request: what arrives is what was read here.
	info, err := s.core.PutObject(ctx, s.bucket, s.prefix+key, c.Body, c.Size, "", hex.EncodeToString(c.SHA256[:]), o)
	if err != nil {
		err = told(err)
		if errors.Is(err, ErrNone) && old != "" {
			err = ErrChanged // removed since: Amazon says so by 404
		}
		return "", err
	}
	if info.ETag == "" {
		return "", errors.New("the object store names no version (ETag) of what was put")
	}
	return Version(info.ETag), nil
}

// told sorts the errors of the store.
func told(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok { // no answer, or half of one
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch {
	case e.StatusCode == http.StatusPreconditionFailed || e.StatusCode == http.StatusConflict || e.StatusCode == http.StatusNotModified:
		return ErrChanged
	case e.Code == "NoSuchKey":
		return ErrNone
	case e.StatusCode >= 500 || e.StatusCode == http.StatusTooManyRequests || e.StatusCode == http.StatusRequestTimeout || e.StatusCode == 0:
		return fmt.Errorf("%w: %s: %s", ErrUnavailable, e.Code, e.Message)
	}
	return fmt.Errorf("the object store refuses: %s (%d): %s", e.Code, e.StatusCode, e.Message)
}
