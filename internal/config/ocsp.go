package config

import (
	"errors"
	"fmt"
	"time"
)

// OCSP says how long answers live, and what they may cost.
type OCSP struct {
	Validity          Duration `yaml:"validity" json:"validity"`
	Cache             Size     `yaml:"cache" json:"cache"`
	UnknownPerAddress float64  `yaml:"unknown_per_address" json:"unknown_per_address"` // a second; 0: no limit
	Presign           Presign  `yaml:"presign" json:"presign"`
}

// Presign says where all answers are put ahead of time: below a directory or at one of
// the targets of publication; nowhere if neither is told.
type Presign struct {
	Dir      string   `yaml:"dir" json:"dir"`
	Target   string   `yaml:"target" json:"target"`
	Every    Duration `yaml:"every" json:"every"`
	Validity Duration `yaml:"validity" json:"validity"`
	SHA256   bool     `yaml:"sha256" json:"sha256"`
	PerSec   int      `yaml:"per_second" json:"per_second"`
}

func defaultOCSP() OCSP {
	return OCSP{Cache: 256 * MiB, UnknownPerAddress: 50,
		Presign: Presign{Every: Duration(6 * time.Hour), Validity: Duration(12 * time.Hour), PerSec: 1000}}
}

// checkOCSP holds what OCSP may cost to the bounds that template.yaml tells.
func (c *Config) checkOCSP() error {
	o := c.OCSP
	switch {
	case o.Cache < MiB || o.Cache > 64*1024*MiB:
		return fmt.Errorf("ocsp.cache is %s, and must be from 1MiB to 64GiB", o.Cache)
	case !(o.UnknownPerAddress >= 0 && o.UnknownPerAddress <= 100_000):
		return fmt.Errorf("ocsp.unknown_per_address is %v, and must be from 0 to 100000", o.UnknownPerAddress)
	case o.Presign.Dir == "" && o.Presign.Target == "":
		return nil
	case o.Presign.Dir != "" && o.Presign.Target != "":
		return errors.New("ocsp.presign has both dir and target: answers go to one place")
	}
	if _, ok := c.Publish.Targets[o.Presign.Target]; !ok && o.Presign.Target != "" {
		return fmt.Errorf("ocsp.presign.target: there is no %s in publish.targets", o.Presign.Target)
	}
	p := o.Presign
	switch {
	case p.Validity < Duration(time.Hour) || p.Validity > Duration(12*time.Hour):
		return fmt.Errorf("ocsp.presign.validity is %s, and must be from 1h to 12h", p.Validity)
	case p.Every < Duration(time.Minute) || p.Every > p.Validity/2:
		return errors.New("ocsp.presign.every must be at least 1m and at most half of ocsp.presign.validity: an answer is replaced before it ends, also when one pass fails")
	case p.PerSec < 1 || p.PerSec > 100_000:
		return fmt.Errorf("ocsp.presign.per_second is %d, and must be from 1 to 100000", p.PerSec)
	}
	return nil
}
