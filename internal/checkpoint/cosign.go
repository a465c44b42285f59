package checkpoint

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// cosignatureV1 is the type of keys that cosign by Ed25519 (C2SP tlog-cosignature).
const cosignatureV1 = 0x04

// Witness is a witness that is believed: its name and Ed25519 key. It verifies that
// witness's cosignatures. It is a [note.Verifier], comparable, and never changed.
type Witness struct {
	name string
	hash uint32
	key  [ed25519.PublicKeySize]byte
}

// NewWitness reads a witness's verifier key (vkey): "name+hash+key", with a key of type
// 0x04. Others are refused, those of type 0x01 too: that they are used for nothing else
// than cosigning is not said by them.
func NewWitness(vkey string) (Witness, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	_, encoded, _ := strings.Cut(rest, "+")
	if !validName(name) {
		return Witness{}, fmt.Errorf("witness %q: its key has the form name+hash+base64, and the name no spaces", name)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != cosignatureV1 {
		return Witness{}, fmt.Errorf("witness %s: not an Ed25519 key for cosignatures (type 0x04)", name)
	}
	w := Witness{name: name, hash: keyHash(name, key), key: [ed25519.PublicKeySize]byte(key[1:])}
	if w.String() != vkey {
		return Witness{}, fmt.Errorf("witness %s: the hash in its key is of another name or key", name)
	}
	return w, nil
}

// keyHash names a key in notes (C2SP signed-note). key begins with its type.
func keyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// String returns the witness's verifier key, as [NewWitness] reads it.
func (w Witness) String() string {
	return fmt.Sprintf("%s+%08x+%s", w.name, w.hash, base64.StdEncoding.EncodeToString(append([]byte{cosignatureV1}, w.key[:]...)))
}

// Name implements [note.Verifier].
func (w Witness) Name() string { return w.name }

// KeyHash implements [note.Verifier].
func (w Witness) KeyHash() uint32 { return w.hash }

// Verify implements [note.Verifier]: signature is a time in seconds and an Ed25519
// signature over that and the body.
func (w Witness) Verify(body, signature []byte) bool {
	if len(signature) != timeOctets+ed25519.SignatureSize || binary.BigEndian.Uint64(signature) > MaxSize {
		return false
	}
	v, err := cosignature.NewVerifierForCosignatureV1(w.String())
	return err == nil && v.Verify(body, signature)
}

// Cosigner is a witness's own key. It is safe for concurrent use.
type Cosigner struct {
	witness Witness
	key     ed25519.PrivateKey
}

// GenerateCosigner makes a key and returns its text, which is a secret.
func GenerateCosigner(name string) (skey string, err error) {
	if !validName(name) {
		return "", fmt.Errorf("%q cannot name a witness: no spaces, no plus sign, at most 255 octets", name)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	return secretKey(witnessOf(name, private), private), nil
}

// NewCosigner reads a key that [GenerateCosigner] made. No error repeats any of it.
func NewCosigner(skey string) (*Cosigner, error) {
	text, ok := strings.CutPrefix(skey, "PRIVATE+KEY+")
	parts := strings.Split(text, "+") // base64 has plus signs of its own
	if !ok || len(parts) < 3 || !validName(parts[0]) {
		return nil, errors.New("not a witness's private key")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.Join(parts[2:], "+"))
	if err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != cosignatureV1 {
		return nil, errors.New("not an Ed25519 private key for cosignatures")
	}
	key := ed25519.NewKeyFromSeed(raw[1:])
	w := witnessOf(parts[0], key)
	if secretKey(w, key) != skey {
		return nil, errors.New("the private key's hash is of another name or key, or it is not in canonical form")
	}
	return &Cosigner{witness: w, key: key}, nil
}

// witnessOf returns the witness that has that private key.
func witnessOf(name string, key ed25519.PrivateKey) Witness {
	public := append([]byte{cosignatureV1}, key.Public().(ed25519.PublicKey)...)
	return Witness{name: name, hash: keyHash(name, public), key: [ed25519.PublicKeySize]byte(public[1:])}
}

// secretKey returns the text of a private key (the skey of x/mod's notes).
func secretKey(w Witness, key ed25519.PrivateKey) string {
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", w.name, w.hash, base64.StdEncoding.EncodeToString(append([]byte{cosignatureV1}, key.Seed()...)))
}

// Witness is who verifies what the key signs.
func (s *Cosigner) Witness() Witness { return s.witness }

// cosigned is what a witness signs. The library signs too, by a clock of its own.
func cosigned(at uint64, body string) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, body)
}

// Cosign returns the signature line by which the witness says that at that time, cut to
// seconds, it had seen no larger tree of the log than c, and none that does not agree
// with it. That this is so is the caller's to know.
func (s *Cosigner) Cosign(c Checkpoint, at time.Time) ([]byte, error) {
	body := c.Body()
	if _, err := parseBody(body); err != nil {
		return nil, err
	}
	if at.Unix() < 0 || at.Unix() > MaxSize {
		return nil, fmt.Errorf("the time %s cannot stand in a cosignature", at)
	}
	raw := binary.BigEndian.AppendUint32(nil, s.witness.hash)
	raw = binary.BigEndian.AppendUint64(raw, uint64(at.Unix()))
	raw = append(raw, ed25519.Sign(s.key, cosigned(uint64(at.Unix()), body))...)
	return []byte(line(note.Signature{Name: s.witness.name, Base64: base64.StdEncoding.EncodeToString(raw)})), nil
}

// Cosignature says that a witness has seen a checkpoint, and when it said so.
type Cosignature struct {
	Name string
	Time time.Time // UTC, seconds; by the witness's clock
}

// Witnessed reads a signed note and returns the checkpoint, if the log signed it, and who
// of the witnesses did, in their order and each name once. Witnesses that are not named
// are skipped; a false signature in the name of one that is makes the note false. How many
// witnesses are enough is the caller's to say.
func (l *Log) Witnessed(text []byte, witnesses []Witness) (Checkpoint, []Cosignature, error) {
	known, err := verifiers(witnesses)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	c, n, err := l.open(text, known...)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	newest := map[string]time.Time{}
	for _, s := range n.Sigs[1:] {
		at, err := cosignedAt(s)
		if err != nil {
			return Checkpoint{}, nil, fmt.Errorf("checkpoint of %s: cosignature of %s: %w", l.origin, s.Name, err)
		}
		if at.After(newest[s.Name]) {
			newest[s.Name] = at
		}
	}
	var out []Cosignature
	for _, w := range witnesses {
		if at, ok := newest[w.name]; ok {
			out = append(out, Cosignature{w.name, at})
			delete(newest, w.name) // it may have a key of before
		}
	}
	return c, out, nil
}

// verifiers returns each witness once. One key under two names is refused: what a witness
// signs does not name it, so that who has one such key would count as two.
func verifiers(witnesses []Witness) ([]note.Verifier, error) {
	names := map[[ed25519.PublicKeySize]byte]string{}
	var out []note.Verifier
	for _, w := range witnesses {
		switch name, ok := names[w.key]; {
		case !ok:
			names[w.key] = w.name
			out = append(out, w)
		case name != w.name:
			return nil, fmt.Errorf("witnesses %s and %s have one key: they would count as two", name, w.name)
		}
	}
	return out, nil
}

// cosignedAt reads the time of a cosignature that verified.
func cosignedAt(s note.Signature) (time.Time, error) {
	at, err := cosignature.CoSigV1Timestamp(s)
	return at.UTC(), err
}

// Merge returns the note with the cosignatures among lines that are of the witnesses and
// true; a later one replaces an earlier one of the same key. Lines of others are left
// out, what stood under the note stays. It is [ErrSignature] if no line is taken.
func (l *Log) Merge(text, lines []byte, witnesses []Witness) ([]byte, error) {
	known, err := verifiers(witnesses)
	if err != nil {
		return nil, err
	}
	_, n, err := l.open(text, known...)
	if err != nil {
		return nil, err
	}
	_, cosigned, err := openNote([]byte(n.Text+"\n"+string(lines)), known)
	if err != nil {
		return nil, fmt.Errorf("cosignatures for %s: %w", l.origin, err)
	}
	all := append(n.Sigs, n.UnverifiedSigs...)
	for _, s := range cosigned.Sigs {
		if all, err = put(all, s); err != nil {
			return nil, err
		}
	}
	var out strings.Builder
	out.WriteString(n.Text + "\n")
	for _, s := range all {
		out.WriteString(line(s))
	}
	if _, _, err := l.open([]byte(out.String()), known...); err != nil {
		return nil, fmt.Errorf("with its cosignatures: %w", err)
	}
	return []byte(out.String()), nil
}

// put adds a cosignature to those of a note, in place of an earlier one of its key.
func put(all []note.Signature, s note.Signature) ([]note.Signature, error) {
	at, err := cosignedAt(s)
	if err != nil {
		return nil, err
	}
	for i, old := range all {
		if old.Name != s.Name || old.Hash != s.Hash {
			continue
		}
		if before, err := cosignedAt(old); err != nil || at.After(before) {
			all[i] = s
		}
		return all, nil
	}
	return append(all, s), nil
}

// Bare returns the note with the log's signature alone.
func (l *Log) Bare(text []byte) ([]byte, error) {
	_, n, err := l.open(text)
	if err != nil {
		return nil, err
	}
	return []byte(n.Text + "\n" + line(n.Sigs[0])), nil
}
