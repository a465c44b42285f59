package population

import (
	"fmt"
	"time"
)

// How many different numbers of each kind there are.
const (
	numbers  = days * 999
	days     = 40_000 // from 1900 on
	hsaIDs   = 100_000_000
	maxCerts = 30_000_000
)

// hsaID, cardNumber, personID and personNumber name the holder with an index, and
// the card of that holder: always in the same length, and ascending.
func hsaID(i int) string      { return fmt.Sprintf("SE2321000016-%08d", i) }
func cardNumber(i int) string { return fmt.Sprintf("9752%015d", i) }
func personID(i int) string   { return fmt.Sprintf("per_%024d", i) }

// personNumber is a valid one: a date, three digits, and the check digit over the
// last nine (Luhn).
func personNumber(i int) string {
	born := time.Date(1900, 1, 1+i/999, 0, 0, 0, 0, time.UTC)
	number := fmt.Sprintf("%s%03d", born.Format("20060102"), i%999+1)
	sum := 0
	for at, c := range number[2:] {
		d := int(c - '0')
		if at%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return fmt.Sprintf("%s%d", number, (10-sum%10)%10)
}
