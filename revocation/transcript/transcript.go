// Package transcript tells a relying party's judgement so that a help desk can read it
// and copy it into a case. It owns the form; it judges nothing, and what strangers wrote
// into certificates and answers stays on its line.
package transcript

import (
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"time"
	"unicode"

	"sigill/revocation"
)

// Options say what a transcript tells.
type Options struct {
	Language string // "sv" or "en", of summary and advice; steps are in English
	// Subject has the certificate's subject told. It is the only personal data in
	// a transcript; without it the serial tells which certificate it was.
	Subject bool
}

// Text tells a judgement: what was asked where, what was answered, by whose clock, the
// verdict, and what to do next. p is what was judged and now our clock at that time.
func Text(r revocation.Verification, p revocation.Presented, now time.Time, o Options) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name+":", oneLine(fmt.Sprintf(format, args...)))
	}
	cert := p.Certificate
	if o.Subject {
		line("subject", "%s", name(cert.Subject))
	}
	line("serial", "%x", cert.SerialNumber)
	line("issuer", "%s", name(cert.Issuer))
	line("valid", "%s to %s", stamp(cert.NotBefore), stamp(cert.NotAfter))
	if len(r.PolicyOIDs) > 0 {
		line("policies", "%s", strings.Join(r.PolicyOIDs, " "))
	}
	if r.Level != (revocation.Level{}) {
		line("level", "%s", strings.TrimSpace(fmt.Sprintf("%d %s", r.Level.Number, r.Level.Name)))
	}
	line("identifier", "%s", r.Identifier.Kind.Word())
	if r.Log.State != "" {
		line("log", "%s", r.Log)
	}
	line("our clock", "%s", stamp(now))
	if !r.Judged.Equal(now) {
		line("asked of", "%s", stamp(r.Judged))
	}
	b.WriteString("\n")
	for i, step := range r.Steps {
		fmt.Fprintf(&b, "%2d. %s\n", i+1, oneLine(step.Text))
		if step.Exchange != nil {
			write(&b, step.Exchange, now)
		}
	}
	fmt.Fprintf(&b, "\n%-12s %s\n%-12s %s\n", "verdict:", oneLine(verdict(r, o.Language)), "next:", r.Next(o.Language))
	return b.String()
}

func verdict(r revocation.Verification, language string) string {
	text := strings.ToUpper(string(r.Status)) + ". " + r.Summary(language)
	if r.Soft {
		text += " (" + r.SoftWhy + ")"
	}
	return text
}

// write tells an exchange in lines below its step.
func write(b *strings.Builder, x *revocation.Exchange, now time.Time) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "      %-12s %s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	switch {
	case x.Address != "" && x.Kind != revocation.FromCache:
		line("asked", "%s (%s, %d octets)", x.Address, x.Took.Round(time.Microsecond), x.Octets)
	case x.Kind == revocation.FromCache:
		line("kept", "%d octets, nothing was fetched now", x.Octets)
	default:
		line("at hand", "%d octets", x.Octets)
	}
	if !x.ThisUpdate.IsZero() {
		line("this update", "%s, %s", stamp(x.ThisUpdate), ago(now.Sub(x.ThisUpdate)))
	}
	if !x.NextUpdate.IsZero() {
		line("next update", "%s, %s", stamp(x.NextUpdate), ago(now.Sub(x.NextUpdate)))
	}
	if !x.ProducedAt.IsZero() {
		line("made at", "%s by its clock, %s by ours", stamp(x.ProducedAt), ago(now.Sub(x.ProducedAt)))
	}
	if x.Signer != "" {
		line("signed by", "%q", x.Signer)
	}
	if x.Number != "" {
		line("list", "number %s, %d entries, for %s", x.Number, x.Entries, x.Scope)
	}
}

// oneLine keeps what strangers wrote, in a certificate or an answer, on its line: a
// name with a line break could otherwise add a verdict of its own.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}

// ago tells how long ago something was, or how soon it will be: where it should
// be past, a clock is wrong.
func ago(d time.Duration) string {
	if d < 0 {
		return "in " + long(-d)
	}
	return long(d) + " ago"
}

// long tells what is longer than two days in days: nobody reads 8,759 hours.
func long(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Round(time.Second).String()
}

// attributes are the names' attributes as people write them (RFC 4519, X.520).
var attributes = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.42": "GN", "2.5.4.97": "organizationIdentifier",
}

// name tells a distinguished name in the order of the certificate, with every value
// readable: the standard library writes a surname in hexadecimal. A value that could
// be taken for more than one attribute is quoted.
func name(n pkix.Name) string {
	var out []string
	for _, each := range n.Names {
		label, value := each.Type.String(), fmt.Sprint(each.Value)
		if short := attributes[label]; short != "" {
			label = short
		}
		if strings.ContainsAny(value, `,+="\`) {
			value = fmt.Sprintf("%q", value)
		}
		out = append(out, label+"="+value)
	}
	return strings.Join(out, ", ")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
