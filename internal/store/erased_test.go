package store_test

import (
	"sigill/internal/audit"
	"sigill/internal/store/storetest"
	"sigill/orders/download"
)

// erasedCases are what is erased and told, and what is erased and not told.
func erasedCases() []checkCase {
	card := string(storetest.Card().Number)
	const late = "4000000000000000" // microseconds: after everything here
	told := func(tx *download.Tx) error {
		return tx.Events.Append(audit.Event{ID: "evt_told", At: storetest.T0, Act: audit.RetentionErased, By: "system",
			Public: audit.Erasure{What: "cards", Through: storetest.T0, Count: 1}.Fields()})
	}
	const all = `UPDATE orders SET bytes = substr(bytes, 1, 0); UPDATE downloads SET plan = substr(plan, 1, 0) WHERE state <> 'planned'; ` +
		`UPDATE intents SET tbs = substr(tbs, 1, 0) WHERE state <> 'open'; UPDATE certificates SET der = substr(der, 1, 0); UPDATE cards SET erased_at = 1`
	return []checkCase{
		{name: "erased and told", fn: told, sql: `INSERT INTO erasures (event, what, through, count) VALUES ('evt_told', 'cards', ` + late + `, 1); ` + all},
		{name: "an act about nothing", sql: `INSERT INTO erasures (event, what, through, count) VALUES ('evt_x', 'cards', 1, 1)`, want: []string{"erasure.event: evt_x"}},
		{name: "event", sql: `UPDATE events SET body = substr(body, 1, 0) WHERE id = '` + storetest.EventID(5, 1) + `'`,
			want: []string{"event.erased: - " + storetest.Event("evt_x").Act}},
		{name: "half of a certificate", fn: told, sql: `INSERT INTO erasures (event, what, through, count) VALUES ('evt_told', 'cards', ` + late + `, 1); ` +
			`UPDATE certificates SET der = substr(der, 1, 0) WHERE download = 'dl_b'`, want: []string{"certificate.erased: " + storetest.Serial(4).String() + " " + card}},
		{name: "intent", sql: `UPDATE intents SET tbs = substr(tbs, 1, 0) WHERE state = 'abandoned'`, want: []string{"certificate.erased: " + storetest.Serial(5).String() + " " + card}},
		{name: "order", sql: `UPDATE orders SET bytes = substr(bytes, 1, 0)`, want: []string{"order.erased: ord_a " + card}},
		{name: "plan", sql: `UPDATE downloads SET plan = substr(plan, 1, 0) WHERE id = 'dl_a'`, want: []string{"download.erased: dl_a " + card}},
		{name: "statement", fn: func(tx *download.Tx) error { return tx.InsertStatement(stated("key.block", "x")) },
			sql: `UPDATE statements SET content = substr(content, 1, 0), signature = substr(signature, 1, 0)`, want: []string{"statement.erased: st_x key.block"}},
		{name: "statement about an order", fn: func(tx *download.Tx) error { return tx.InsertStatement(stated("order.place", "ord_a")) },
			sql: `UPDATE statements SET content = substr(content, 1, 0), signature = substr(signature, 1, 0)`, want: []string{"statement.erased: st_x order.place"}},
		{name: "card", sql: `UPDATE cards SET erased_at = 1`, want: []string{"card.erased: " + card}},
		{name: "person who has a name", sql: `UPDATE persons SET erased_at = 1 WHERE id = 'per_a'`, want: []string{"person.erased: per_a"}},
	}
}
