package config

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// hidden stands for a secret.
const hidden = "hidden"

// Recorded returns the configuration in effect as it is written down for ever: with
// the defaults of what the file does not say, without comments, where anything may
// stand, and without the one secret that the file may hold, the password of the
// database. It is YAML that Parse reads.
func (c *Config) Recorded() ([]byte, error) {
	shown := *c
	shown.Database = withoutPassword(c.Database)
	return yaml.Marshal(&shown)
}

// withoutPassword hides the password of a database's address. What cannot be read as
// one is hidden as a whole.
func withoutPassword(address string) string {
	if strings.HasPrefix(address, "sqlite:") {
		return address
	}
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return hidden
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(strings.ToLower(name), "password") { // and sslpassword
			query.Set(name, hidden)
		}
	}
	u.RawQuery, u.Fragment, u.RawFragment = query.Encode(), "", ""
	return u.String()
}
