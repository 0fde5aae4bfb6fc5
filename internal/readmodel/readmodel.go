// Package readmodel answers questions about many builds: a SQLite database in the listener's data directory, fed from
// EVENTS.
//
// Events come in, in the stream's order; lists of build records go out. It is a copy that can be removed at any time:
// it is rebuilt from the stream. The listener imports it.
package readmodel

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// schemaVersion is stored in the database: a database of another version is removed.
const schemaVersion = "2"

const schema = `
CREATE TABLE builds (
	id TEXT PRIMARY KEY, queued INTEGER NOT NULL, push TEXT NOT NULL, project TEXT NOT NULL, package TEXT NOT NULL,
	target TEXT NOT NULL, ref TEXT NOT NULL, commit_id TEXT NOT NULL, state TEXT NOT NULL, result TEXT NOT NULL,
	kind TEXT NOT NULL, record BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX newest ON builds (queued DESC, id DESC);
CREATE INDEX newest_of_project ON builds (project, queued DESC, id DESC);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

// Model is an open read model.
type Model struct {
	db   *sql.DB
	lock *os.File
}

// Open opens the read model in dir, or makes an empty one. stream identifies the stream (its name and time of
// creation): the model of another stream is removed. after is the sequence of the last event that is in it.
func Open(dir, stream string) (m *Model, after uint64, err error) {
	lock, err := dirlock.Dir(dir)
	if errors.Is(err, dirlock.ErrBusy) {
		return nil, 0, hint.Add(fmt.Errorf("read model in %s: another listener uses it", dir),
			"give each listener a data_dir of its own")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read model: %w", err)
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	path := filepath.Join(dir, "builds.db")
	identity := schemaVersion + " " + stream
	db, after, err := open(path, identity)
	if err != nil { // older, of another stream, damaged: it is only a copy
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, 0, fmt.Errorf("read model: remove outdated %s: %w", path, err)
			}
		}
		if db, after, err = open(path, identity); err != nil {
			return nil, 0, fmt.Errorf("read model %s: %w", path, err)
		}
	}
	return &Model{db: db, lock: lock}, after, nil
}

func open(path, identity string) (_ *sql.DB, after uint64, err error) {
	_, statErr := os.Stat(path)
	// Not synchronous: what is lost in a crash is read again from the stream.
	const pragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(5000)"
	db, err := sql.Open("sqlite", "file:"+path+pragmas)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	if statErr != nil {
		if _, err := db.Exec(schema); err != nil {
			return nil, 0, err
		}
		if _, err := db.Exec(`INSERT INTO meta VALUES ('identity', ?), ('after', '0')`, identity); err != nil {
			return nil, 0, err
		}
	}
	var found string
	if err := db.QueryRow(`SELECT value FROM meta WHERE name = 'identity'`).Scan(&found); err != nil {
		return nil, 0, err
	}
	if found != identity {
		return nil, 0, fmt.Errorf("made for %q", found)
	}
	return db, after, db.QueryRow(`SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'after'`).Scan(&after)
}

// Close closes the database.
func (m *Model) Close() error { return errors.Join(m.db.Close(), m.lock.Close()) }

// Apply stores the build record of the event with the given sequence.
func (m *Model) Apply(ctx context.Context, sequence uint64, b rpmflow.Build) error {
	record, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("read model: build %s: %w", b.ID, err)
	}
	var result, kind string
	if b.Outcome != nil {
		result, kind = string(b.Outcome.Result), string(b.Outcome.Kind)
	}
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("read model: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO builds VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`,
		b.ID, b.QueuedAt.UnixMicro(), b.Push, b.Project, b.Package, b.Target, b.Ref, b.Commit, b.State, result, kind,
		record); err != nil {
		return fmt.Errorf("read model: build %s: %w", b.ID, err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE meta SET value = ? WHERE name = 'after'`,
		fmt.Sprint(sequence)); err != nil {
		return fmt.Errorf("read model: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("read model: %w", err)
	}
	return nil
}

// Query selects builds; empty fields match all.
type Query struct {
	Project, Package, Target, Push string
	Ref                            string // in full, or the name of a branch or tag
	Commit                         string // or its beginning
	State                          rpmflow.State
	Result                         rpmflow.Result
	Kind                           rpmflow.FailureKind
	Limit                          int
	Cursor                         string // of the page before
}

// ErrCursor means that a cursor is not one that List has returned.
var ErrCursor = errors.New("malformed cursor")

// List returns the builds, newest first, and the cursor of the next page, empty at the end.
func (m *Model) List(ctx context.Context, q Query) (builds []rpmflow.Build, next string, err error) {
	where, args := []string{"1"}, []any{}
	for _, f := range []struct{ column, value string }{
		{"project", q.Project}, {"package", q.Package}, {"target", q.Target}, {"push", q.Push},
		{"state", string(q.State)}, {"result", string(q.Result)}, {"kind", string(q.Kind)},
	} {
		if f.value != "" {
			where, args = append(where, f.column+" = ?"), append(args, f.value)
		}
	}
	switch {
	case q.Ref == "":
	case strings.HasPrefix(q.Ref, "refs/"), q.Ref == "HEAD":
		where, args = append(where, "ref = ?"), append(args, q.Ref)
	default:
		where, args = append(where, "ref IN (?, ?)"), append(args, "refs/heads/"+q.Ref, "refs/tags/"+q.Ref)
	}
	if q.Commit != "" {
		where, args = append(where, "substr(commit_id, 1, ?) = ?"),
			append(args, len(q.Commit), strings.ToLower(q.Commit))
	}
	if q.Cursor != "" {
		queued, id, err := parseCursor(q.Cursor)
		if err != nil {
			return nil, "", err
		}
		where, args = append(where, "(queued, id) < (?, ?)"), append(args, queued, id)
	}
	if builds, err = m.builds(ctx, strings.Join(where, " AND "), q.Limit+1, args...); err != nil {
		return nil, "", fmt.Errorf("read model: list: %w", err)
	}
	if len(builds) > q.Limit {
		builds = builds[:q.Limit]
		last := builds[q.Limit-1]
		next = makeCursor(last.QueuedAt, last.ID)
	}
	return builds, next, nil
}

// Beginning returns the builds whose ids begin with a text, the newest first, at most limit of them.
func (m *Model) Beginning(ctx context.Context, text string, limit int) (builds []rpmflow.Build, err error) {
	// '~' sorts behind everything that ids are made of.
	if builds, err = m.builds(ctx, "id >= ? AND id < ?", limit, text, text+"~"); err != nil {
		return nil, fmt.Errorf("read model: builds %s…: %w", text, err)
	}
	return builds, nil
}

// builds returns the records of the builds for which a condition holds, the newest first.
func (m *Model) builds(ctx context.Context, where string, limit int, args ...any) (builds []rpmflow.Build, err error) {
	query := `SELECT record FROM builds WHERE ` + where + ` ORDER BY queued DESC, id DESC LIMIT ?`
	rows, err := m.db.QueryContext(ctx, query, append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var record []byte
		var b rpmflow.Build
		if err := rows.Scan(&record); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(record, &b); err != nil {
			return nil, err
		}
		builds = append(builds, b)
	}
	return builds, rows.Err()
}

// Column is a column whose values Names returns.
type Column string

// The columns with names in them.
const (
	ColumnProject Column = "project"
	ColumnPackage Column = "package"
	ColumnTarget  Column = "target"
)

// Names returns the different values of a column, sorted.
func (m *Model) Names(ctx context.Context, c Column) (names []string, err error) {
	rows, err := m.db.QueryContext(ctx, `SELECT DISTINCT `+string(c)+` FROM builds ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("read model: names of %ss: %w", c, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("read model: names of %ss: %w", c, err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

func makeCursor(queued time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", queued.UnixMicro(), id))
}

func parseCursor(s string) (queued int64, id string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, "", ErrCursor
	}
	if n, err := fmt.Sscanf(string(raw), "%d %s", &queued, &id); n != 2 || err != nil {
		return 0, "", ErrCursor
	}
	return queued, id, nil
}
