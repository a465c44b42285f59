package publish

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// spoolMemory is how many octets a spool holds before it goes to a file.
const spoolMemory = 1 << 20

// spool keeps the lines of a list between reading and signing: a few in memory,
// many in a file beside the list that is removed with it.
type spool struct {
	dir    string
	held   []byte
	file   *os.File
	out    *bufio.Writer
	count  int
	octets int64
}

// reset empties the spool.
func (s *spool) reset() error {
	s.held, s.count, s.octets = s.held[:0], 0, 0
	if s.file == nil {
		return nil
	}
	s.out.Reset(s.file)
	_, err := s.file.Seek(0, io.SeekStart)
	return errors.Join(err, s.file.Truncate(0))
}

// add appends a line, with its length before it: what is spooled is not parsed
// again.
func (s *spool) add(line []byte) error {
	s.count++
	s.octets += int64(len(line))
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(line)))
	if s.file == nil && len(s.held)+len(line)+len(length) <= spoolMemory {
		s.held = append(append(s.held, length[:]...), line...)
		return nil
	}
	if s.file == nil {
		// durable.Sweep finds it by its name if this process dies.
		f, err := os.CreateTemp(s.dir, ".lines.*.tmp")
		if err != nil {
			return err
		}
		s.file, s.out = f, bufio.NewWriterSize(f, 64<<10)
		if _, err := s.out.Write(s.held); err != nil {
			return err
		}
		s.held = s.held[:0]
	}
	if _, err := s.out.Write(length[:]); err != nil {
		return err
	}
	_, err := s.out.Write(line)
	return err
}

// each yields the lines in order.
func (s *spool) each(yield func([]byte) error) error {
	if s.file == nil {
		for in := s.held; len(in) > 0; {
			n := 4 + int(binary.BigEndian.Uint32(in))
			if err := yield(in[4:n]); err != nil {
				return err
			}
			in = in[n:]
		}
		return nil
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(s.file, 64<<10)
	var line []byte
	for range s.count {
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(length[:]))
		line = append(line[:0], make([]byte, n)...)
		if _, err := io.ReadFull(in, line); err != nil {
			return err
		}
		if err := yield(line); err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}
