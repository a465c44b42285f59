// Package table makes a table in Markdown of what benchmarks printed. It measures
// nothing and rounds nothing away: a figure without the ceiling of its run is
// refused.
package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sigill/internal/bench/figure"
	"sigill/internal/durable"
)

// Make reads figures, a JSON document each, and returns a table of them under a line
// that tells when and on what they were measured.
func Make(in io.Reader, at time.Time, machine string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s: %s.\n\n", at.UTC().Format("2006-01-02"), machine)
	b.WriteString("| figure | value | ceiling of the same run | ratio |\n| --- | ---: | ---: | ---: |\n")
	var notes strings.Builder
	d := json.NewDecoder(in)
	n := 0
	for ; ; n++ {
		var f figure.Figure
		if err := d.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("figure %d: %w", n+1, err)
		}
		if f.Name == "" || f.Unit == "" || f.Ceiling <= 0 || f.Value <= 0 {
			return "", fmt.Errorf("figure %d, %q, has no name, unit, value or ceiling", n+1, f.Name)
		}
		fmt.Fprintf(&b, "| `%s` | %s %s | %s | %.2f |\n", f.Name, number(f.Value), f.Unit, number(f.Ceiling), f.Ratio)
		fmt.Fprintf(&notes, "- `%s`: %s.\n", f.Name, strings.TrimSuffix(clean.Replace(f.Note), "."))
	}
	if n == 0 {
		return "", errors.New("there are no figures")
	}
	return b.String() + "\n" + notes.String(), nil
}

var clean = strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;")

// number writes three digits that say something, and all before the point, in groups.
func number(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(max(v, 0.01))))), 64)
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	var out []byte
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out = append(out, ',')
		}
		out = append(out, digits[i])
	}
	return string(out)
}

// The part of a file that Into replaces.
var (
	begin = []byte("<!-- results -->\n")
	end   = []byte("<!-- end -->\n")
)

// Into replaces what is between the two marks of a file.
func Into(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, found := bytes.Cut(old, begin)
	_, tail, ends := bytes.Cut(rest, end)
	if !found || !ends {
		return fmt.Errorf("%s has no part between %q and %q", path, bytes.TrimSpace(begin), bytes.TrimSpace(end))
	}
	return durable.WriteFile(path, bytes.Join([][]byte{head, begin, []byte("\n" + text + "\n"), end, tail}, nil), 0o644)
}

// Machine tells what this program runs on.
func Machine() string {
	parts := []string{fmt.Sprintf("%d cores for it", runtime.GOMAXPROCS(0))}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := field(string(text), "model name"); model != "" {
			parts[0] += " (" + model + ")"
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if kib, err := strconv.Atoi(strings.TrimSuffix(field(string(text), "MemTotal"), " kB")); err == nil {
			parts = append(parts, fmt.Sprintf("%.0f GB of memory", float64(kib)*1024/1e9))
		}
	}
	return strings.Join(append(parts, runtime.GOOS+"/"+runtime.GOARCH, runtime.Version()), ", ")
}

// field returns what a line of "name: value" says.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
