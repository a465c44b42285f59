package worldtest

import "sigill/internal/audit"

// Told returns what the events of an act say, oldest first; of every act if act is
// empty.
func (s *Scene) Told(act string) (out []*audit.Body) {
	s.T.Helper()
	err := s.Store.Audit().View(s.T.Context(), func(tx *audit.Tx) error {
		out = nil
		const all = 1_000_000
		records, _, err := tx.Linked(0, all)
		if err != nil {
			return err
		}
		waiting, err := tx.Unnumbered(all)
		if err != nil {
			return err
		}
		for _, r := range append(records, waiting...) {
			if act != "" && r.Act != act {
				continue
			}
			b, err := audit.ParseBody(r.Body)
			if err != nil {
				return err
			}
			out = append(out, b)
		}
		return nil
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return out
}

// Value returns a public field of an event, or nothing.
func Value(b *audit.Body, name string) string {
	for _, f := range b.Public {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
