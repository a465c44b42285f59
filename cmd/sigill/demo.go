package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"sigill/internal/demo"
)

type demoCmd struct {
	Dir      string `help:"Keep everything in this directory, which must not exist or be empty. Default: a temporary one, removed afterwards." placeholder:"DIR"`
	Database string `help:"postgres://… of an empty database. Default: SQLite in the directory." placeholder:"URL"`
	Serve    bool   `help:"Leave the service running afterwards, to look around."`
}

func (c *demoCmd) Run(g *globals) (err error) {
	if g.json {
		return usageError{"the demo is a story, and has no data to print: leave --json away"}
	}
	// With nobody left to read (| head) the runtime would end this process by
	// SIGPIPE, before it has stopped its child and removed its directory. Asked
	// for, the signal leaves an error of the write instead. It is not ignored: the
	// child would inherit that.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
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
		defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
		dir = filepath.Join(parent, "demo")
	}
	if err := demo.Run(g.ctx, demo.Options{Dir: dir, Program: program, Database: c.Database, Out: g.stdout, Stay: c.Serve}); err != nil {
		return err
	}
	if c.Dir != "" {
		fmt.Fprintf(g.stdout, "Everything is kept in %s; begin with its README.txt.\n", c.Dir)
	}
	return nil
}
