package target

import (
	"errors"
	"testing"

	"sigill/internal/revtest"
)

// TestCompareChangesNothing: it tells what a mirror would do, and does none of it.
func TestCompareChangesNothing(t *testing.T) {
	h, to := newHere(t), directory(t)
	h.put(firstKey, h.list(0, 1))
	h.put(secondKey, h.list(1, 2))
	m := h.mirror(to)
	c, err := m.Compare(t.Context())
	if err != nil || c.Behind != 5 || c.Same+c.Ahead+len(c.Wrong) != 0 {
		t.Fatalf("with an empty target: %+v, %v", c, err)
	}
	if got(t, to, firstKey) != nil {
		t.Fatal("it put something")
	}
	drain(t, m)
	h.put(firstKey, h.list(0, 2))                                              // behind
	h.put(secondKey, h.list(1, 1))                                             // ahead
	h.put("aia/root.cer", revtest.NewAuthority(t, revtest.Root, nil).Cert.Raw) // wrong
	c, err = m.Compare(t.Context())
	if err != nil || c.Behind != 1 || c.Ahead != 1 || c.Same != 2 || c.Wrong["aia/root.cer"] == nil || len(c.Wrong) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	m.Target = &failing{Target: to, key: firstKey, err: ErrUnavailable}
	if c, err = m.Compare(t.Context()); err != nil || !errors.Is(c.Wrong[firstKey], ErrUnavailable) {
		t.Errorf("with one that does not answer: %+v, %v", c, err)
	}
}

// TestCompareWithAnOutage says so once and not for each object.
func TestCompareWithAnOutage(t *testing.T) {
	h := newHere(t)
	to, err := NewS3(S3Config{Endpoint: "http://" + freeAddress(t), Bucket: bucket, Keys: func() (Keys, error) { return testKeys, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.mirror(to).Compare(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("compared with %v", err)
	}
}
