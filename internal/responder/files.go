package responder

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// publicFile returns the name of the file that path means, below the public
// directory, and its media type. Names are made of a closed alphabet, so that
// no path climbs, hides or names a temporary file.
func publicFile(path string) (name, mediaType string, ok bool) {
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 4 && parts[0] == "" && parts[1] == "crl" && isIssuer(parts[2]):
		partition, isCRL := strings.CutSuffix(parts[3], ".crl")
		if !isCRL || partition != "full" && !isPartition(partition) {
			return "", "", false
		}
		return "crl/" + parts[2] + "/" + partition + ".crl", typeCRL, true
	case len(parts) == 3 && parts[0] == "" && parts[1] == "aia":
		issuer, isCertificate := strings.CutSuffix(parts[2], ".cer")
		if !isCertificate || !isIssuer(issuer) {
			return "", "", false
		}
		return "aia/" + issuer + ".cer", typeCertificate, true
	}
	return "", "", false
}

func isIssuer(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// isPartition accepts each number in one form only.
func isPartition(s string) bool {
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// slowest is how many octets of a file a second a client must take. A list of a
// million entries must not hold a connection for ever, and has to get through a bad line.
const slowest = 32 << 10

// serveFile serves one file, opened anew for each request: the publisher puts a
// new file under the name, and this response goes on with the one it opened.
func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, name, mediaType string) {
	f, info, err := h.open(name)
	if err != nil {
		h.unreadable.Do(func() { h.log.Error("opening a public file", "name", name, "err", err) })
		fail(w, http.StatusInternalServerError)
		return
	}
	if f == nil {
		fail(w, http.StatusNotFound)
		return
	}
	defer f.Close()
	// An error says that this connection has no deadlines: it is not a socket's.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime + time.Duration(info.Size()/slowest)*time.Second))
	header := w.Header()
	header.Set("Content-Type", mediaType)
	t := h.texts.at(h.now())
	header["Cache-Control"], header["Expires"] = t.cache[:], t.expires[:]
	// A file is never written over but replaced by a later one: time and size
	// name its content without reading it.
	header.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// open opens a public file; nil if there is none. The directory is found anew each time:
// who held it open would go on with what is in it after another was put in its place.
func (h *Handler) open(name string) (*os.File, os.FileInfo, error) {
	dir, err := os.OpenRoot(h.dir) // nothing outside is reached, by whatever name or link
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	// Before it is opened: opening a pipe waits for who writes it.
	info, err := dir.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil { // it may be a later one
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}
