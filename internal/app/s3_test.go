package app

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sigill/internal/loopback"
	"sigill/internal/peers"
)

// s3Place starts an object store and returns what sigill.yaml says of it.
func s3Place(t *testing.T) string {
	t.Helper()
	program, data := peers.Need(t, peers.Versitygw), t.TempDir()
	for _, d := range []string{"objects/heads", "meta"} {
		if err := os.MkdirAll(filepath.Join(data, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	free, err := loopback.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	address := free[0]
	cmd := exec.Command(program, "--port", address, "--access", "heads", "--secret", "not-a-secret", "--health", "/health", "--quiet", "posix",
		"--sidecar", filepath.Join(data, "meta"), filepath.Join(data, "objects"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	give := time.After(time.Minute)
	for {
		r, err := http.Get("http://" + address + "/health")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case <-give:
			t.Fatal("never: the object store answers")
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Setenv("HEADS_ACCESS", "heads")
	t.Setenv("HEADS_SECRET", "not-a-secret")
	return fmt.Sprintf("\n  keep: {elsewhere: {s3: {endpoint: 'http://%s', bucket: heads, credentials: 'env:HEADS_ACCESS,HEADS_SECRET'}}}\n", address)
}
