package checker

import (
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"sync"
	"time"

	"encoding/json"

	"sigill/internal/durable"
	"sigill/internal/strictjson"
)

// State is what is remembered of lists, so that one that goes back is noticed: by whoever
// looks, even if it went back while nobody did. It may be used concurrently.
type State struct {
	mu    sync.Mutex
	lists map[string]listState // by path
}

type listState struct {
	Number     string    `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	SHA256     string    `json:"sha256"`
}

type stateFile struct {
	Version int                  `json:"version"`
	Lists   map[string]listState `json:"lists"`
}

// LoadState reads a state; a file that is not there is an empty one.
func LoadState(path string) (*State, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &State{}, nil
	}
	if err != nil {
		return nil, err
	}
	var f stateFile
	if err := strictjson.Unmarshal(text, &f); err != nil || f.Version != 1 {
		return nil, fmt.Errorf("%s is not a state of `sigill check`: %v", path, err)
	}
	for at, l := range f.Lists {
		if _, ok := new(big.Int).SetString(l.Number, 10); !ok {
			return nil, fmt.Errorf("%s: the number of %s is none", path, at)
		}
	}
	return &State{lists: f.Lists}, nil
}

// Save writes a state, in place of an older one.
func (s *State) Save(path string) error {
	s.mu.Lock()
	text, err := json.MarshalIndent(stateFile{Version: 1, Lists: s.lists}, "", "  ")
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(text, '\n'), 0o644)
}

// compare returns what is wrong with a list beside the newest one that was seen before.
func (s *State) compare(now ListSeen) (code Code, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, ok := s.lists[now.path]
	if !ok {
		return "", ""
	}
	old, _ := new(big.Int).SetString(before.Number, 10)
	number, _ := new(big.Int).SetString(now.Number, 10)
	switch order := number.Cmp(old); {
	case order < 0:
		return CRLBackwards, fmt.Sprintf("it has number %s, and number %s was here before", now.Number, before.Number)
	case order == 0 && now.sha256 != before.SHA256:
		return CRLReused, fmt.Sprintf("number %s was another list before", now.Number)
	case now.ThisUpdate.Before(before.ThisUpdate):
		return CRLBackwards, fmt.Sprintf("it is of %s, and one of %s was here before", now.ThisUpdate.UTC().Format(time.RFC3339), before.ThisUpdate.UTC().Format(time.RFC3339))
	}
	return "", ""
}

// take remembers what a round has seen. The newest stays, so that a list that went back is
// told for as long as it is back.
func (s *State) take(r *Report) {
	for _, l := range r.Lists {
		if code, _ := s.compare(l); code != "" {
			continue
		}
		s.mu.Lock()
		if s.lists == nil {
			s.lists = map[string]listState{}
		}
		s.lists[l.path] = listState{l.Number, l.ThisUpdate, l.sha256}
		s.mu.Unlock()
	}
}

// partitions returns how many partitions of a CA were ever seen.
func (s *State) partitions(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := 0
	for path := range s.lists {
		if n, ok := partitionNumber(path, name); ok {
			least = max(least, n+1)
		}
	}
	return least
}
