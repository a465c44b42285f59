// Package strictjson owns one way to read JSON: a document means one thing to
// every reader, or is refused. encoding/json takes the last of several members
// of one name, and a member in whatever case; a program that looked at the
// document before (a proxy, a log, the client that showed it to a person) perhaps
// took the first, or none.
//
// It knows no document and no rule.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep values stand in one another: no document of ours
// comes near, and a walk without a bound could be made to use up the stack.
const maxDepth = 64

// Unmarshal reads data, which must be one JSON value in UTF-8, into v as
// [json.Unmarshal] does. At every depth it refuses members that v's type does not
// name byte for byte, members that stand twice, and arrays for octets, which are
// base64. What is read by a type's own UnmarshalJSON, and what goes into an
// interface, is looked at for members that stand twice only.
//
// After an error v may be partly filled. Errors name the member and hold nothing
// of its value but what encoding/json tells.
func Unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // a number's value is not looked at here
	if err := check(d, reflect.TypeOf(v), 0); err != nil {
		return whole(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return json.Unmarshal(data, v)
}

// whole says of a document that ends too early that it does.
func whole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the document is empty or cut off")
	}
	return err
}

// check reads one value that is meant for t; nil is for one that nothing is known
// of.
func check(d *json.Decoder, t reflect.Type, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values stand more than %d deep in one another", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return err
	}
	t = plain(t)
	switch token {
	case json.Delim('{'):
		return object(d, t, depth)
	case json.Delim('['):
		return array(d, t, depth)
	}
	return nil
}

var (
	readsJSON = reflect.TypeFor[json.Unmarshaler]()
	readsText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// plain takes pointers off t. It returns nil for a type that reads itself, and
// for an interface.
func plain(t reflect.Type) reflect.Type {
	for t != nil {
		switch p := reflect.PointerTo(t); {
		case p.Implements(readsJSON), p.Implements(readsText), t.Kind() == reflect.Interface:
			return nil
		case t.Kind() != reflect.Pointer:
			return t
		}
		t = t.Elem()
	}
	return nil
}

func object(d *json.Decoder, t reflect.Type, depth int) error {
	var known map[string]reflect.Type
	if t != nil && t.Kind() == reflect.Struct {
		known = members(t)
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		member, ok := known[name]
		switch {
		case seen[name]:
			return fmt.Errorf("member %.64q stands twice", name)
		case known != nil && !ok:
			return fmt.Errorf("unknown member %.64q", name)
		case t != nil && t.Kind() == reflect.Map:
			member = t.Elem()
		}
		seen[name] = true
		if err := check(d, member, depth+1); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func array(d *json.Decoder, t reflect.Type, depth int) error {
	var element reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		if element = t.Elem(); t.Kind() == reflect.Slice && element.Kind() == reflect.Uint8 {
			return errors.New("octets are base64, not an array")
		}
	}
	for d.More() {
		if err := check(d, element, depth+1); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// members returns the names of a struct's members as they must be written, and
// their types. A field hides one of the same name in an embedded struct.
func members(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
			continue
		case f.Anonymous && name == "":
			if s := plain(f.Type); s != nil && s.Kind() == reflect.Struct {
				for n, m := range members(s) {
					if _, ok := all[n]; !ok {
						all[n] = m
					}
				}
				continue
			}
		case !f.IsExported():
			continue
		}
		if name == "" {
			name = f.Name
		}
		all[name] = f.Type
	}
	return all
}
