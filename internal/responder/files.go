package responder

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
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

// serveFile serves one file, opened anew for each request: the publisher puts a
// new file under the name, and this response goes on with the one it opened.
func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, name, mediaType string) {
	f, err := h.dir.Open(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			h.log.Error("opening a public file", "name", name, "err", err)
		}
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", mediaType)
	t := h.texts.at(h.now())
	header["Cache-Control"], header["Expires"] = t.cache[:], t.expires[:]
	// A file is never written over but replaced by a later one: time and size
	// name its content without reading it.
	header.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, "", info.ModTime(), f)
}
