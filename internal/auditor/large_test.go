package auditor_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/rederive"
	"sigill/internal/checkpoint"
)

// number reads a size from the environment.
func number(b *testing.B, name string, standard int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%s", name, text)
	}
	return n
}

// processor is how much of the processors' time this process has used.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sizeOf(b *testing.B, dir string) (octets int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			octets += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return octets
}

// BenchmarkBook is how a look depends on how much the auditor's book has already: the same
// new certificates are followed into a book that is new and into one of SIGILL_BOOK
// certificates (default 10,000; a million take about 2 GB in SIGILL_BOOK_DIR). Beside it
// the look that finds nothing new, and the root of all that was followed, for the first
// time and again. Run it once: -benchtime=1x.
func BenchmarkBook(b *testing.B) {
	before, fresh := number(b, "SIGILL_BOOK", 10_000), number(b, "SIGILL_BOOK_NEW", 200)
	s := auditortest.Founded(b)
	for range fresh {
		s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	}
	s.Sign()
	for _, n := range []int{0, before} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			dir, err := os.MkdirTemp(os.Getenv("SIGILL_BOOK_DIR"), "sigill-book")
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { os.RemoveAll(dir) })
			if n > 0 {
				auditortest.FillIndex(b, dir, n)
			}
			filled := sizeOf(b, dir)
			for range b.N {
				follow(b, s, dir, fresh, n)
			}
			if n == 0 {
				b.ReportMetric(float64(sizeOf(b, dir))/float64(fresh), "octets/new")
			} else {
				b.ReportMetric(float64(filled)/float64(n), "octets/certificate")
			}
		})
	}
	b.Run("root", func(b *testing.B) { rootOf(b, before) })
}

// follow follows a scene into the book in dir, and looks again.
func follow(b *testing.B, s *auditortest.Scene, dir string, fresh, before int) {
	b.Helper()
	book, err := book.Open(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	defer book.Close()
	issuers, err := rederive.NewIssuers(s.CAs...)
	if err != nil {
		b.Fatal(err)
	}
	a, err := auditor.New(auditor.Config{Source: auditortest.Source{Scene: s}, Book: book, Issuers: issuers, Now: time.Now, HeadAge: 48 * time.Hour,
		Logs: map[auditor.Tree]*checkpoint.Log{auditor.Certificates: s.Logs[auditor.Certificates].Log, auditor.Acts: s.Logs[auditor.Acts].Log}})
	if err != nil {
		b.Fatal(err)
	}
	for look, each := range []string{"new", "look-without-new"} {
		used, began := processor(b), time.Now()
		r, err := a.Follow(b.Context())
		if err != nil || len(wrong(r)) > 0 || look == 0 && r.Rederived < int64(fresh) {
			b.Fatalf("%+v, %v", r, err)
		}
		count := map[int]int{0: fresh, 1: 1}[look]
		b.ReportMetric(float64((processor(b)-used).Microseconds())/float64(count), "µs-of-processor/"+each)
		b.ReportMetric(float64(time.Since(began).Microseconds())/float64(count), "µs/"+each)
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(u.Maxrss)/1024, "MiB")
}

// rootOf measures the root of what was followed.
func rootOf(b *testing.B, n int) {
	dir, err := os.MkdirTemp(os.Getenv("SIGILL_BOOK_DIR"), "sigill-book")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	bk, err := book.Open(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	defer bk.Close()
	if err := auditortest.FillHashes(b.Context(), bk, n); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		for _, each := range []string{"first", "again"} {
			began := time.Now()
			if _, err := bk.Root(b.Context(), book.Acts, int64(n)*auditortest.ActsEach-1); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/"+each)
		}
	}
}
