package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sigill/ca"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/target"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// targetDegraded is how long a list may be public here and not at a target before /readyz
// says so: as long as caches in front of either may keep the older one anyway.
const targetDegraded = time.Minute

// openTargets makes a mirror for each configured target. That a target does not answer
// stops no start, as revoking must go on; that its credentials are not where the
// configuration says does.
func openTargets(cfg *config.Config, h *keys.Hierarchy, now func() time.Time, log *slog.Logger) ([]*target.Mirror, error) {
	issuers := map[ca.IssuerID]*x509.Certificate{h.Root.ID: h.Root.Certificate}
	for _, each := range h.Issuers {
		issuers[each.ID] = each.Certificate
	}
	var out []*target.Mirror
	for _, name := range slices.Sorted(maps.Keys(cfg.Publish.Targets)) {
		to, err := openTarget(cfg, cfg.Publish.Targets[name])
		if err != nil {
			return nil, fmt.Errorf("publish.targets.%s: %w", name, err)
		}
		m := &target.Mirror{Name: name, Dir: h.PublicDir(), Target: to, Issuers: issuers, Now: now, Log: log}
		if err := m.Check(); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func openTarget(cfg *config.Config, c config.Target) (target.Target, error) {
	if c.S3 == nil {
		home, err := filepath.Abs(cfg.Dir)
		if err != nil {
			return nil, err
		}
		if below(c.Directory, home) || below(home, c.Directory) {
			return nil, fmt.Errorf("%s and the installation's directory %s lie in one another: what is brought elsewhere must be elsewhere", c.Directory, home)
		}
		return target.NewDirectory(c.Directory)
	}
	source, err := target.KeysFrom(c.S3.Credentials, cfg.Dir, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if _, err := source(); err != nil {
		return nil, err
	}
	return target.NewS3(target.S3Config{Endpoint: c.S3.Endpoint, Bucket: c.S3.Bucket, Prefix: c.S3.Prefix, Region: c.S3.Region, Keys: source})
}

// below reports whether path is dir or lies in it.
func below(path, dir string) bool {
	way, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(way)
}

// runMirrors runs the mirrors until ctx ends.
func (a *App) runMirrors(ctx context.Context, wg *sync.WaitGroup) {
	for _, m := range a.mirrors {
		wg.Go(func() { m.Run(ctx) })
	}
}

// drainMirrors brings what was published last to the targets, as far as ctx allows. What
// is left is found by the next start.
func (a *App) drainMirrors(ctx context.Context) {
	var wg sync.WaitGroup
	for _, m := range a.mirrors {
		wg.Go(func() {
			if err := m.Drain(ctx); err != nil {
				a.log.Warn("stopping with a target behind", "err", err)
			}
		})
	}
	wg.Wait()
}

// askWithin bounds the question what a target has.
const askWithin = 5 * time.Second

// elsewhere returns the highest number that a target has of a list, nil where none can
// tell. A target that does not answer holds nothing up: revoking must go on. Full lists
// are not asked for: they are large, and who restored one has restored partitions too.
func (a *App) elsewhere(ctx context.Context, list revocation.List) *big.Int {
	if list.Partition == revocation.Whole {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	key := filepath.ToSlash(publish.CRLPath(list.Issuer, list.Partition))
	numbers := make([]*big.Int, len(a.mirrors))
	var wg sync.WaitGroup
	for i, m := range a.mirrors {
		wg.Go(func() {
			var err error
			if numbers[i], err = m.Number(ctx, key); err != nil {
				a.log.Debug("a target does not tell what it has", "target", m.Name, "list", list.String(), "err", err)
			}
		})
	}
	wg.Wait()
	var highest *big.Int
	for _, n := range numbers {
		if n != nil && (highest == nil || n.Cmp(highest) > 0) {
			highest = n
		}
	}
	return highest
}

// targetMetrics tell how the targets stand.
func (a *App) targetMetrics(m metrics) error {
	for _, each := range a.mirrors {
		labels := prometheus.Labels{"target": each.Name}
		for name, gauge := range map[string]struct {
			help  string
			value func(target.Status) float64
		}{
			"sigill_publish_lag_seconds": {"Age of the oldest list that is public here and not at the target; 0: it has all.", func(s target.Status) float64 { return s.Lag.Seconds() }},
			"sigill_publish_behind":      {"Objects that are public here and not at the target.", func(s target.Status) float64 { return float64(s.Behind) }},
			"sigill_publish_refused":     {"Objects that may not replace what the target has: look at once.", func(s target.Status) float64 { return float64(s.Refused) }},
			"sigill_publish_ahead":       {"Objects of which the target has a newer one, another publisher's.", func(s target.Status) float64 { return float64(s.Ahead) }},
		} {
			if err := m.gauge(name, gauge.help, labels, func() float64 { return gauge.value(each.Status()) }); err != nil {
				return err
			}
		}
		err := m.counter("sigill_publish_failures_total", "Tries to reach the target or to put an object that failed, since start.", labels, func() int64 { return each.Status().Failed })
		if err != nil {
			return err
		}
	}
	return nil
}

// targetsDegraded says what is wrong with targets, for /readyz.
func (a *App) targetsDegraded() []string {
	var out []string
	for _, m := range a.mirrors {
		s := m.Status()
		switch {
		case s.Refused > 0:
			out = append(out, fmt.Sprintf("target %s: %d objects may not replace what it has: %s: %v", s.Name, s.Refused, s.Object, s.Err))
		case s.Lag > targetDegraded && s.Err != nil:
			out = append(out, fmt.Sprintf("target %s: behind for %d s: %v", s.Name, int(s.Lag.Seconds()), s.Err))
		case s.Lag > targetDegraded:
			out = append(out, fmt.Sprintf("target %s: behind for %d s", s.Name, int(s.Lag.Seconds())))
		}
	}
	return out
}

// targetFindings compares each target with what is public here. It puts nothing.
func targetFindings(ctx context.Context, cfg *config.Config, h *keys.Hierarchy, say sayer) {
	const area = "targets"
	mirrors, err := openTargets(cfg, h, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		say(Red, area, "%v", err)
		return
	}
	for _, m := range mirrors {
		c, err := m.Compare(ctx)
		if err != nil {
			say(Red, area, "%s cannot be compared: %v", m.Name, err)
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(c.Wrong)) {
			say(Red, area, "%s: %s: %v", m.Name, key, c.Wrong[key])
		}
		grade := Green
		if c.Behind > 0 {
			grade = Yellow // brought while `sigill serve` runs
		}
		say(grade, area, "%s has %d objects as they are here, lacks %d, has %d newer ones", m.Name, c.Same, c.Behind, c.Ahead)
	}
}
