package remote

import (
	"context"
	"net/url"
	"strings"
)

// Get returns what an address of the logs answers, such as "/log/acts/checkpoint".
func (s *Source) Get(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return s.get(ctx, strings.Split(strings.TrimPrefix(u.Path, "/"), "/"), u.Query())
}
