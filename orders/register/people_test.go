package register_test

import (
	"errors"
	"strings"
	"testing"

	"sigill/orders/register"
	"sigill/policy"
)

// What no CA certifies is not taken in, and the field is named: the row is put
// right before a card waits for it.
func TestRowsThatCouldNeverBeIssued(t *testing.T) {
	const right = "191212121212,Åsa,Öström,SE2321000016-A1,asa@region.example,asa@ad.region.example,S-1-5-21-1-2-3-4,,\n"
	half := strings.Repeat("å", 32)
	for _, x := range []struct{ name, old, new, detail string }{
		{"names too long together", "Åsa,Öström", half + "," + half, "givenName and surname together: it has more than 64 characters"},
		{"given name too long", "Åsa", strings.Repeat("å", 65), "givenName: it has more than 64 characters"},
		{"surname too long", "Öström", strings.Repeat("å", 65), "surname: it has more than 64 characters"},
		{"no given name", "Åsa", "", "givenName: it is missing"},
		{"no surname", "Öström", "", "surname: it is missing"},
		{"direction of writing", "Öström", "Öst\u202ermörts", "surname: it has a character that is not seen, or not as itself (U+202E)"},
		{"no-break space", "Öström", "von\u00a0Öström", "surname: it has a character that is not seen, or not as itself (U+00A0)"},
		{"zero width space", "Åsa", "Å\u200bsa", "givenName: it has a character that is not seen, or not as itself (U+200B)"},
		{"space around", "Åsa", "Åsa ", "givenName: it begins or ends with a space"},
		{"e-mail to one label", "asa@region.example", "a@localhost", "email: it is not an e-mail address in ASCII"},
		{"quoted e-mail", "asa@region.example", `"""a b""@region.example"`, "email: it is not an e-mail address in ASCII"},
		{"UPN of nothing", "asa@ad.region.example", "@", "upn: it is not user@realm"},
		{"UPN without user", "asa@ad.region.example", "@ad", "upn: it is not user@realm"},
		{"UPN with a space", "asa@ad.region.example", "å sa@ad", "upn: it has a space, or a character that is not seen (U+0020)"},
		{"SID of nothing", "S-1-5-21-1-2-3-4", "S-1-", "sid: it is not a SID (S-1-…)"},
		{"SID with text", "S-1-5-21-1-2-3-4", "S-1-5-x", "sid: it is not a SID (S-1-…)"},
		{"SID past 32 bits", "S-1-5-21-1-2-3-4", "S-1-5-4294967296", "sid: it is not a SID (S-1-…)"},
	} {
		file := peopleHead + right + strings.Replace(right, x.old, x.new, 1)
		rows, err := register.ParsePeople(strings.NewReader(file))
		refusal, ok := errors.AsType[*policy.Refusal](err)
		if !ok || refusal.Rule != policy.RequestForm || refusal.Detail != "row 2: "+x.detail {
			t.Errorf("%s: %d rows, %v", x.name, len(rows), err)
		}
	}
	longest := strings.Repeat("å", 31)
	file := peopleHead + strings.Replace(right, "Åsa,Öström", longest+"x,"+longest, 1)
	if _, err := register.ParsePeople(strings.NewReader(file)); err != nil {
		t.Errorf("names of 64 characters together: %v", err)
	}
}

// The first two administrators are judged as everybody after them.
func TestFoundingThatCouldNeverBeIssued(t *testing.T) {
	const right = `{"salt":"00112233445566778899aabbccddeeff","organisation":{"number":"2321000016","name":"Region"},"administrators":[` +
		`{"personnummer":"191212121212","givenName":"Tolvan","surname":"Tolvansson","hsaId":"SE2321000016-1","email":"a@region.example","upn":"a@ad"},` +
		`{"personnummer":"198112289874","givenName":"Åsa","surname":"Öström","hsaId":"SE2321000016-2"}]}`
	if _, _, err := register.ParseFounding([]byte(right)); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ old, new, detail string }{
		{"Region", "Region\u202e", "organisation: name: it has a character"},
		{"Region", strings.Repeat("å", 65), "organisation: name: it has more than 64 characters"},
		{`"Region"`, `""`, "organisation: name: it is missing"},
		{"Öström", strings.Repeat("å", 62), "administrator 2: givenName and surname together: it has more than 64"},
		{"Tolvansson", "Tolvan\u00a0Son", "administrator 1: surname: it has a character"},
		{"a@region.example", "a@localhost", "administrator 1: email: it is not"},
		{"a@ad", "@", "administrator 1: upn: it is not"},
	} {
		_, _, err := register.ParseFounding([]byte(strings.Replace(right, x.old, x.new, 1)))
		refusal, ok := errors.AsType[*policy.Refusal](err)
		if !ok || refusal.Rule != policy.RequestForm || !strings.HasPrefix(refusal.Detail, "founding: "+x.detail) {
			t.Errorf("%q for %q: %v", x.new, x.old, err)
		}
	}
}

// Files as spreadsheet programs write them: with the mark of UTF-8 they are read,
// in another encoding that is what is told, and not a fault of some field.
func TestFilesOfSpreadsheets(t *testing.T) {
	const right = "191212121212,Åsa,Öström,SE2321000016-A1,,,,,\n"
	for _, file := range []string{
		"\ufeff" + peopleHead + right,
		"\ufeff" + strings.ReplaceAll(peopleHead+right, "\n", "\r\n"),
	} {
		rows, err := register.ParsePeople(strings.NewReader(file))
		if err != nil || len(rows) != 1 || rows[0].GivenName != "Åsa" {
			t.Errorf("%q: %+v, %v", file, rows, err)
		}
	}
	latin1 := strings.NewReplacer("Å", "\xc5", "Ö", "\xd6", "ö", "\xf6").Replace(right)
	utf16 := "\xff\xfe"
	for _, c := range peopleHead {
		utf16 += string(c) + "\x00"
	}
	for name, x := range map[string]struct{ file, detail string }{
		"ISO 8859-1":            {peopleHead + right + latin1, "row 2: the file is not in UTF-8"},
		"ISO 8859-1 with mark":  {"\ufeff" + peopleHead + latin1, "row 1: the file is not in UTF-8"},
		"short row, ISO 8859-1": {peopleHead + "191212121212,\xc5sa\n", "row 1: the file is not in UTF-8"},
		"UTF-16":                {utf16, "row 0: the file is not in UTF-8"},
		"heading, ISO 8859-1":   {"personnummer;\xc5\n", "row 0: the file is not in UTF-8"},
		"mark twice":            {"\ufeff\ufeff" + peopleHead + right, "row 0: the heading must be"},
		"mark in a row":         {peopleHead + "\ufeff" + right, "row 1: "},
		"mark only":             {"\ufeff", "row 0: the heading must be"},
		"less than a mark":      {"\xef\xbb", "row 0: the file is not in UTF-8"},
	} {
		rows, err := register.ParsePeople(strings.NewReader(x.file))
		refusal, ok := errors.AsType[*policy.Refusal](err)
		if !ok || refusal.Rule != policy.RequestForm || !strings.HasPrefix(refusal.Detail, x.detail) {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
}
