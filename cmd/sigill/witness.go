package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigill/internal/checkpoint"
	"sigill/internal/witness"
)

// witnessCmd is for people who run no installation: they see that somebody else's logs
// only grow.
type witnessCmd struct {
	Init  witnessInitCmd  `cmd:"" help:"Make a witness: its key, and a memory of nothing. Never overwrites."`
	Serve witnessServeCmd `cmd:"" help:"Cosign what logs show to have grown, until interrupted."`
	Show  witnessShowCmd  `cmd:"" help:"Print the witness's public key."`
}

// Help implements kong.HelpProvider.
func (witnessCmd) Help() string {
	return `A witness remembers the largest tree that it has seen of each log and signs only
what begins with it, so that a log cannot show different histories to different
people, nor go back to an old one. It speaks C2SP tlog-witness. Run it where those
who run the log have no access:

  sigill witness init  --dir witness --name witness.example/1
  sigill witness serve --dir witness --listen 127.0.0.1:8081 \
    --log ca.example/log/acts=acts.pem --log ca.example/log/certificates=certificates.pem

The directory is its memory. One that was restored from a backup has forgotten what
it signed since: make a new witness, with a new key, in place of it.`
}

// witnessDir names a witness's directory.
type witnessDir struct {
	Dir string `required:"" env:"SIGILL_WITNESS_DIR" placeholder:"DIR" help:"The witness's directory."`
}

type witnessInitCmd struct {
	witnessDir
	Name string `required:"" placeholder:"NAME" help:"Name of the witness, by which its cosignatures are known: an address without http, as witness.example/1. No spaces, no plus signs."`
}

// madeWitness is what init and show answer.
type madeWitness struct {
	Name string `json:"name"`
	Key  string `json:"key"` // verifier key, for those who believe the witness
}

func (c *witnessInitCmd) Run(g *globals) error {
	w, err := witness.Init(c.Dir, c.Name)
	if err != nil {
		return err
	}
	return g.print(madeWitness{w.Name(), w.String()}, fmt.Sprintf(`Made witness %s in %s. Its public key, for the logs' operators and all who verify:

%s

Next: sigill witness serve --dir %s --log ORIGIN=PUBLIC-KEY.pem
`, w.Name(), c.Dir, w, c.Dir))
}

type witnessShowCmd struct{ witnessDir }

func (c *witnessShowCmd) Run(g *globals) error {
	w, err := witness.ReadWitness(c.Dir)
	if err != nil {
		return err
	}
	return g.print(madeWitness{w.Name(), w.String()}, w.String()+"\n")
}

type witnessServeCmd struct {
	witnessDir
	Listen string            `default:"127.0.0.1:8081" help:"Where to listen, over plain HTTP. Put a server that speaks TLS in front."`
	Log    map[string]string `placeholder:"ORIGIN=FILE" help:"A log to witness: its origin, and its public key in PEM. Repeatable."`
	Logs   string            `type:"existingfile" placeholder:"FILE" help:"A file that names logs, one on a line: origin, space, file of the public key (beside this file, if it is relative). # begins a remark."`
}

func (c *witnessServeCmd) Run(g *globals) error {
	logs, err := c.logs()
	if err != nil {
		return err
	}
	s, err := witness.Open(witness.Config{Dir: c.Dir, Logs: logs, Now: time.Now, Log: g.log()})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	address := "http://" + l.Addr().String()
	err = g.print(map[string]string{"address": address, "name": s.Witness().Name(), "key": s.Witness().String()},
		fmt.Sprintf("Witness %s for %d logs at %s\nStop with Ctrl-C.\n", s.Witness().Name(), len(logs), address))
	if err != nil {
		l.Close()
		return err
	}
	return s.Serve(g.ctx, l)
}

// logs reads the logs that are named by flags and file.
func (c *witnessServeCmd) logs() ([]*checkpoint.Log, error) {
	files := maps.Clone(c.Log)
	if files == nil {
		files = map[string]string{}
	}
	if c.Logs != "" {
		if err := c.list(files); err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, usageError{"no log to witness: say --log ORIGIN=FILE or --logs FILE"}
	}
	var out []*checkpoint.Log
	for _, origin := range slices.Sorted(maps.Keys(files)) {
		text, err := os.ReadFile(files[origin])
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", origin, err)
		}
		l, err := checkpoint.ReadLog(origin, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[origin], err)
		}
		out = append(out, l)
	}
	return out, nil
}

// list adds what the file of logs names.
func (c *witnessServeCmd) list(files map[string]string) error {
	text, err := os.ReadFile(c.Logs)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return fmt.Errorf("%s, line %d: not an origin and a file", c.Logs, n)
		}
		origin, file := fields[0], fields[1]
		if _, ok := files[origin]; ok {
			return fmt.Errorf("%s, line %d: log %s is named twice", c.Logs, n, origin)
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(c.Logs), file)
		}
		files[origin] = file
	}
	return nil
}
