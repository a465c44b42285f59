package worldtest

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// Dump is every row of every table as text, by table, sorted; without what
// recording a refusal or a log-in writes.
type Dump map[string][]string

// recorded are the rows that a refusal or a log-in leaves, by table.
func recorded() map[string]string {
	const refusal = `act IN ('request.refused', 'login.refused', 'login.accepted', 'key.refused')`
	return map[string]string{
		"events":         refusal,
		"event_personal": `event IN (SELECT seq FROM events WHERE ` + refusal + `)`,
		"event_people":   `event IN (SELECT seq FROM events WHERE ` + refusal + `)`,
	}
}

// Dump reads the whole database. What is refused must leave it the same.
func (s *Scene) Dump() Dump {
	s.T.Helper()
	rows, err := s.raw.Query(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		s.T.Fatal(err)
	}
	defer rows.Close()
	d := Dump{}
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			s.T.Fatal(err)
		}
		d[table] = nil
	}
	if err := rows.Err(); err != nil {
		s.T.Fatal(err)
	}
	for table := range d {
		d[table] = s.rowsOf(table)
	}
	if len(d) < 10 {
		s.T.Fatalf("only %d tables were found", len(d))
	}
	return d
}

func (s *Scene) rowsOf(table string) []string {
	s.T.Helper()
	query := "SELECT * FROM " + table
	if refusal := recorded()[table]; refusal != "" {
		query += " WHERE NOT (" + refusal + ")"
	}
	rows, err := s.raw.Query(query)
	if err != nil {
		s.T.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		s.T.Fatal(err)
	}
	values, dest := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	var all []string
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			s.T.Fatal(err)
		}
		var text strings.Builder
		for i, v := range values {
			if v == nil {
				fmt.Fprintf(&text, "%s=NULL ", columns[i])
			} else {
				fmt.Fprintf(&text, "%s=%q ", columns[i], []byte(v))
			}
		}
		all = append(all, text.String())
	}
	if err := rows.Err(); err != nil {
		s.T.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// Since returns the rows that came (+) and went (-) since an earlier dump, each
// with its table in front. A row that changed went and came.
func (d Dump) Since(before Dump) []string {
	var diff []string
	for table, rows := range d {
		for _, r := range rows {
			if _, there := slices.BinarySearch(before[table], r); !there {
				diff = append(diff, "+ "+table+" "+r)
			}
		}
		for _, r := range before[table] {
			if _, there := slices.BinarySearch(rows, r); !there {
				diff = append(diff, "- "+table+" "+r)
			}
		}
	}
	slices.Sort(diff)
	return diff
}
