package checker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/strictjson"
)

// Claim is what an operator says of a serial, which the service must say too.
type Claim struct {
	Serial *big.Int
	Issuer string // name of the CA; empty: whichever knows the serial
	Status Status
	At     time.Time // of a revocation; zero: not claimed
	Reason *ca.Reason
}

// Status of a certificate as OCSP tells it.
type Status string

// Statuses.
const (
	Good    Status = "good"
	Revoked Status = "revoked"
	Unknown Status = "unknown"
)

type claimLine struct {
	Serial string    `json:"serial"`
	Issuer string    `json:"issuer"`
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

const maxClaimLine = 4096

// ReadClaims reads JSON lines:
//
//	{"serial": "47f1…", "status": "revoked", "at": "2026-03-14T09:26:53Z", "reason": "keyCompromise"}
//
// The serial is hexadecimal, with or without colons. at, reason and issuer may be left out.
func ReadClaims(in io.Reader) ([]Claim, error) {
	var out []Claim
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxClaimLine)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		c, err := readClaim(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, c)
	}
	return out, lines.Err()
}

func readClaim(text string) (Claim, error) {
	var l claimLine
	if err := strictjson.Unmarshal([]byte(text), &l); err != nil {
		return Claim{}, err
	}
	serial, ok := new(big.Int).SetString(strings.ReplaceAll(l.Serial, ":", ""), 16)
	if !ok || serial.Sign() <= 0 || serial.BitLen() > 160 {
		return Claim{}, fmt.Errorf("serial %q is not one in hexadecimal digits", l.Serial)
	}
	c := Claim{Serial: serial, Issuer: l.Issuer, Status: l.Status, At: l.At}
	if l.Status != Good && l.Status != Revoked && l.Status != Unknown {
		return Claim{}, fmt.Errorf("status %q is not good, revoked or unknown", l.Status)
	}
	if l.Status != Revoked && (!l.At.IsZero() || l.Reason != "") {
		return Claim{}, fmt.Errorf("what is %s has no time and no reason", l.Status)
	}
	if l.Reason != "" {
		reason, err := ca.ParseReason(l.Reason)
		if err != nil {
			return Claim{}, err
		}
		c.Reason = &reason
	}
	return c, nil
}

// claims asks for every claimed serial.
func (r *round) claims(ctx context.Context) {
	for _, claim := range r.c.Claims {
		if ctx.Err() != nil {
			return
		}
		r.claim(ctx, claim)
	}
	r.report.Claims = len(r.c.Claims)
}

func (r *round) claim(ctx context.Context, claim Claim) {
	told := ocspSays{status: Unknown}
	asked := false
	for _, a := range r.c.authorities {
		if claim.Issuer != "" && claim.Issuer != a.name || a.root {
			continue
		}
		says, ok := r.ask(ctx, a, claim.Serial, byPOST)
		if !ok {
			return // told already
		}
		asked = true
		if says.status != Unknown {
			told = says
			break
		}
	}
	subject := fmt.Sprintf("serial %x", claim.Serial)
	switch {
	case !asked:
		r.say(Failure, ClaimDiffers, subject, "it is claimed of %q, of which no certificate was given", claim.Issuer)
	case told.status != claim.Status:
		r.say(Failure, ClaimDiffers, subject, "it is claimed to be %s, and OCSP says %s", claim.Status, told)
	case claim.Status == Revoked && !claim.At.IsZero() && !told.at.Equal(claim.At.Truncate(time.Second)):
		r.say(Failure, ClaimDiffers, subject, "it is claimed to be revoked at %s, and OCSP says %s", claim.At.UTC().Format(time.RFC3339), told)
	case claim.Reason != nil && told.reason != *claim.Reason:
		r.say(Failure, ClaimDiffers, subject, "it is claimed to be revoked as %v, and OCSP says %s", *claim.Reason, told)
	}
}
