package main

import (
	"fmt"
	"os"
	"path/filepath"

	"sigill/internal/demo"
)

type demoCmd struct {
	Dir   string `help:"Keep everything in this directory, which must not exist or be empty. Default: a temporary one, removed afterwards." placeholder:"DIR"`
	Serve bool   `help:"Leave the service running afterwards, to look around."`
}

func (c *demoCmd) Run(g *globals) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		parent, err := os.MkdirTemp("", "sigill-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(parent)
		dir = filepath.Join(parent, "demo")
	}
	if err := demo.Run(g.ctx, demo.Options{Dir: dir, Program: program, Out: g.stdout, Stay: c.Serve}); err != nil {
		return err
	}
	if c.Dir != "" {
		fmt.Fprintf(g.stdout, "Everything is kept in %s; begin with its README.txt.\n", c.Dir)
	}
	return nil
}
