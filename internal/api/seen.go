package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sigill/internal/wire"
)

// Seen does an act and waits until what it revoked is seen by whoever asks. missing
// says what is still not so when there was no more time; "": nothing. The error is
// act's own.
type Seen func(ctx context.Context, act func() error) (missing string, err error)

// waited calls fn and answers when what it revoked is visible.
func (h *handler) waited(c *call, fn func(*call) (any, error)) (any, error) {
	if q := c.URL.Query()["wait"]; !slices.Equal(q, []string{"visible"}) {
		return nil, form(fmt.Errorf("wait is visible, once, or not there"))
	}
	if h.Seen == nil {
		return nil, form(errors.New("nobody can wait here"))
	}
	var result any
	missing, err := h.Seen(c.Context(), func() (err error) {
		result, err = fn(c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return withVisible{result, wire.Visible{Visible: missing == "", Why: missing}}, nil
}

// withVisible is an answer with the members of wire.Visible.
type withVisible struct {
	answer  any
	visible wire.Visible
}

// MarshalJSON implements json.Marshaler.
func (w withVisible) MarshalJSON() ([]byte, error) {
	answer, err := json.Marshal(w.answer)
	if err != nil {
		return nil, err
	}
	visible, err := json.Marshal(w.visible)
	if err != nil {
		return nil, err
	}
	head, isObject := bytes.CutSuffix(answer, []byte("}"))
	if !isObject {
		return nil, fmt.Errorf("%T is no document that could say more", w.answer)
	}
	if len(head) > 1 {
		head = append(head, ',')
	}
	return append(head, visible[1:]...), nil
}
