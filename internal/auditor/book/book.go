// Package book is what an auditor keeps of his own between two looks at the logs:
// the last checkpoints that he has verified, the hash of every leaf he saw, and an
// index of what the logs said, so that what comes can be joined with what was.
//
// It is a directory with a small SQLite database and two files of hashes, and copes
// with tens of millions of entries in bounded memory. It holds no key, no name and no
// personal number. It judges nothing; package auditor does.
package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver
)

// ErrNotFound is returned for what the book does not have.
var ErrNotFound = errors.New("not in the auditor's book")

// Trees that are followed, as the book's files are named.
const (
	Certificates = "certificates"
	Acts         = "acts"
)

// Book is an open book. One process writes it at a time: it is locked while open.
// Its methods may be called concurrently, those of a Tx not.
type Book struct {
	dir    string
	db     *sql.DB // one connection: it writes
	read   *sql.DB
	lock   *sql.DB // a database of nothing, held in a transaction
	hashes map[string]*hashFile
}

// schema of the index. Times are microseconds since 1970, numbers are places in a
// log, -1 or NULL where there is none.
const schema = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (tree TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, at INTEGER NOT NULL,
	note BLOB NOT NULL, done INTEGER NOT NULL, witnessed INTEGER NOT NULL, witnessed_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificates (serial BLOB PRIMARY KEY, issuer TEXT NOT NULL, profile TEXT NOT NULL, card TEXT NOT NULL,
	person TEXT NOT NULL, organisation TEXT NOT NULL, ord TEXT NOT NULL, download TEXT NOT NULL, key BLOB NOT NULL, kind TEXT NOT NULL,
	loa TEXT NOT NULL, slot TEXT NOT NULL, hash BLOB NOT NULL, intent INTEGER NOT NULL, intent_at INTEGER NOT NULL,
	leaf INTEGER NOT NULL, issued INTEGER NOT NULL, issued_at INTEGER NOT NULL, fingerprint BLOB NOT NULL,
	judged INTEGER NOT NULL, ended INTEGER NOT NULL, ended_at INTEGER NOT NULL, reason TEXT NOT NULL, abandoned INTEGER NOT NULL,
	crl TEXT NOT NULL, not_after INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS certificates_card ON certificates (card) WHERE card <> '';
CREATE INDEX IF NOT EXISTS certificates_fingerprint ON certificates (fingerprint) WHERE length(fingerprint) > 0;
DROP INDEX IF EXISTS certificates_crl;
CREATE INDEX IF NOT EXISTS certificates_list ON certificates (crl, serial, not_after, ended, ended_at, card) WHERE ended >= 0 AND crl <> '';
CREATE INDEX IF NOT EXISTS certificates_ended ON certificates (ended, not_after) WHERE ended >= 0 AND crl <> '';
CREATE TABLE IF NOT EXISTS keys (key BLOB PRIMARY KEY, serial BLOB NOT NULL, card TEXT NOT NULL, download TEXT NOT NULL, slot TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, placed INTEGER NOT NULL, at INTEGER NOT NULL, type TEXT NOT NULL, organisation TEXT NOT NULL,
	card TEXT NOT NULL, person TEXT NOT NULL, kind TEXT NOT NULL, loa TEXT NOT NULL, document BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS orders_person ON orders (person);
CREATE TABLE IF NOT EXISTS approvals (ord TEXT NOT NULL, signed BLOB NOT NULL, certificate BLOB NOT NULL, act TEXT NOT NULL, number INTEGER NOT NULL,
	at INTEGER NOT NULL, PRIMARY KEY (ord, signed)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS downloads (id TEXT PRIMARY KEY, ord TEXT NOT NULL, card TEXT NOT NULL, login BLOB NOT NULL, begun INTEGER NOT NULL,
	state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roles (person TEXT NOT NULL, organisation TEXT NOT NULL, role TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS roles_person ON roles (person);
CREATE TABLE IF NOT EXISTS organisations (id TEXT PRIMARY KEY, parent TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open (kind TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, note TEXT NOT NULL,
	PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (name TEXT NOT NULL, at INTEGER NOT NULL, number INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (name, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erasures (number INTEGER PRIMARY KEY, tree TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, remaining INTEGER NOT NULL,
	through INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS erasures_last ON erasures (tree, last) WHERE remaining > 0;
CREATE TABLE IF NOT EXISTS ranges (tree TEXT NOT NULL, size INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (tree, size)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (n INTEGER PRIMARY KEY, kind TEXT NOT NULL, severity TEXT NOT NULL, tree TEXT NOT NULL, number INTEGER NOT NULL,
	subject TEXT NOT NULL, ids TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (kind, tree, number, subject));
DELETE FROM open WHERE kind = 'public';
`

// version of the schema: a book of another one is refused, never guessed at. It can be
// made anew from the logs.
const version = "3"

// Open opens the book in dir, which is made if it is not there.
func Open(ctx context.Context, dir string) (*Book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("auditor's book: %w", err)
	}
	b := &Book{dir: dir, hashes: map[string]*hashFile{}}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("auditor's book in %s: %w", dir, err), b.Close())
	}
	return b, nil
}

// hold keeps other processes out: two would write the hashes over each other.
func (b *Book) hold(ctx context.Context) error {
	var err error
	if b.lock, err = sql.Open("sqlite", "file:"+filepath.Join(b.dir, "lock.db")+"?_pragma=busy_timeout(0)"); err != nil {
		return err
	}
	b.lock.SetMaxOpenConns(1)
	// It ends with its connection.
	if _, err := b.lock.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		return fmt.Errorf("it is in use by another sigill audit: wait until that has ended (%w)", err)
	}
	return nil
}

func (b *Book) open(ctx context.Context) error {
	if err := b.hold(ctx); err != nil {
		return err
	}
	path := "file:" + filepath.Join(b.dir, "index.db") + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=cache_size(-65536)"
	var err error
	if b.db, err = sql.Open("sqlite", path+"&_txlock=immediate"); err != nil {
		return err
	}
	b.db.SetMaxOpenConns(1)
	if b.read, err = sql.Open("sqlite", path+"&_pragma=query_only(true)"); err != nil {
		return err
	}
	b.read.SetMaxOpenConns(4)
	if _, err := b.db.ExecContext(ctx, schema); err != nil {
		return err
	}
	if _, err := b.db.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('version', ?) ON CONFLICT DO NOTHING`, version); err != nil {
		return err
	}
	var is string
	if err := b.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'version'`).Scan(&is); err != nil {
		return err
	}
	if is != version {
		return fmt.Errorf("it is of version %s, this program writes %s: begin a new one", is, version)
	}
	for _, tree := range []string{Certificates, Acts} {
		h, err := b.Head(ctx, tree)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if b.hashes[tree], err = openHashes(filepath.Join(b.dir, tree+".hashes"), h.Done); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the book.
func (b *Book) Close() error {
	var err error
	for _, db := range []*sql.DB{b.read, b.db, b.lock} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	for _, h := range b.hashes {
		if h != nil {
			err = errors.Join(err, h.close())
		}
	}
	return err
}

// Dir is where the book is.
func (b *Book) Dir() string { return b.dir }

// Update runs fn in a transaction: all of it is kept, or nothing.
func (b *Book) Update(ctx context.Context, fn func(*Tx) error) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	t := &Tx{ctx: ctx, on: tx, statements: map[string]*sql.Stmt{}}
	if err := fn(t); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// View runs fn over what was committed. Several run at once.
func (b *Book) View(ctx context.Context, fn func(*Tx) error) error {
	tx, err := b.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	t := &Tx{ctx: ctx, on: tx, statements: map[string]*sql.Stmt{}}
	return errors.Join(fn(t), tx.Rollback())
}

// Tx is a view of the book in a transaction. It belongs to one goroutine.
type Tx struct {
	ctx        context.Context
	on         *sql.Tx
	statements map[string]*sql.Stmt
}

// prepared keeps a statement for the rest of the transaction: one that is a thousand
// times the same is parsed once.
func (t *Tx) prepared(query string) (*sql.Stmt, error) {
	if s, ok := t.statements[query]; ok {
		return s, nil
	}
	s, err := t.on.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, err
	}
	t.statements[query] = s
	return s, nil
}

// exec runs a statement and returns how many rows it changed.
func (t *Tx) exec(query string, args ...any) (int64, error) {
	s, err := t.prepared(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// one reads a row, or returns ErrNotFound.
func (t *Tx) one(query string, args []any, into ...any) error {
	s, err := t.prepared(query)
	if err != nil {
		return err
	}
	err = s.QueryRowContext(t.ctx, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// all reads rows; scan is called for each.
func (t *Tx) all(query string, args []any, scan func(func(...any) error) error) error {
	s, err := t.prepared(query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Head is the last checkpoint of a tree that was verified, and how far its entries
// were followed.
type Head struct {
	Size int64
	Root [32]byte
	At   int64 // when the log signed it
	Note []byte
	Done int64 // entries below were followed
	// Witnessed is the largest size that witnesses have cosigned and WitnessedAt the log's
	// time of that checkpoint; 0: none.
	Witnessed, WitnessedAt int64
}

const headColumns = `size, root, at, note, done, witnessed, witnessed_at`

// Head returns the head of a tree, or ErrNotFound.
func (b *Book) Head(ctx context.Context, tree string) (h Head, err error) {
	var root []byte
	err = b.db.QueryRowContext(ctx, `SELECT `+headColumns+` FROM heads WHERE tree = ?`, tree).
		Scan(&h.Size, &root, &h.At, &h.Note, &h.Done, &h.Witnessed, &h.WitnessedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return h, ErrNotFound
	}
	copy(h.Root[:], root)
	return h, err
}

// PutHead keeps the head of a tree.
func (t *Tx) PutHead(tree string, h Head) error {
	_, err := t.exec(`INSERT INTO heads (tree, `+headColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tree) DO UPDATE SET size = excluded.size, root = excluded.root, at = excluded.at, note = excluded.note, done = excluded.done,
		witnessed = excluded.witnessed, witnessed_at = excluded.witnessed_at`,
		tree, h.Size, h.Root[:], h.At, h.Note, h.Done, h.Witnessed, h.WitnessedAt)
	return err
}

// Done says that the entries of a tree below done were followed.
func (t *Tx) Done(tree string, done int64) error {
	_, err := t.exec(`UPDATE heads SET done = ? WHERE tree = ?`, done, tree)
	return err
}

// Meta returns a remembered word; "": none.
func (t *Tx) Meta(name string) (string, error) {
	var v string
	err := t.one(`SELECT value FROM meta WHERE name = ?`, []any{name}, &v)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return v, err
}

// Number returns a remembered number; None: there is none.
func (t *Tx) Number(name string) (int64, error) {
	text, err := t.Meta(name)
	if err != nil || text == "" {
		return None, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// PutMeta remembers a word.
func (t *Tx) PutMeta(name, value string) error {
	_, err := t.exec(`INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// SaveNote writes a checkpoint into a file beside the index, for people and for other
// auditors: it is no part of the state.
func (b *Book) SaveNote(tree string, note []byte) error {
	return os.WriteFile(filepath.Join(b.dir, tree+".checkpoint"), note, 0o644)
}

// SaveEvidence writes a file that proves a finding and returns its path. An evidence is
// never overwritten.
func (b *Book) SaveEvidence(name string, text []byte) (string, error) {
	dir := filepath.Join(b.dir, "evidence")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, strings.ReplaceAll(name, string(filepath.Separator), "_"))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return path, nil
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	return path, errors.Join(err, f.Sync(), f.Close())
}

// hashFile is a file of leaf hashes, 32 octets each, in the order of the log.
type hashFile struct {
	mu sync.Mutex
	f  *os.File
}

// openHashes opens a file of hashes and cuts off what was written and not committed.
func openHashes(path string, done int64) (*hashFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < done*32 {
		err = fmt.Errorf("%s is shorter than the index says: begin a new book", filepath.Base(path))
	}
	if err == nil {
		err = f.Truncate(done * 32)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &hashFile{f: f}, nil
}

func (h *hashFile) close() error { return h.f.Close() }
