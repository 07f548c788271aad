"""The tables of memory, in the database of the transcript store (SQLite only).

`memories` is the truth for documents, facts and summaries. Messages are copied into it from the
store's `messages`, which stay the truth for them (`message_queue`: not copied yet). `memory_words`
holds the terms of each text and the parts of its words (`vanta.language`); `word_queue` lists items
without them. `memories_fts` is an FTS5 index over it; its column `scope` holds tokens for user,
privacy and session, so a match expression names whose memory it searches. `memory_vectors` holds
embeddings by embedder fingerprint (float32, little endian, length 1). `embedding_queue` lists texts
without a vector, `index_outbox` changes that the vector index has not applied. `same_as` of a
repeated item is the id of its latest repetition, the only one that is found; `digest` detects
repetitions.

Invariants: triggers keep all tables consistent, so deleting a message or a memory deletes all data
derived from it. So does marking a message as replaced (`vanta.storage.branches`); once it counts
again, it is queued again. Summaries are those of the branch in use. Ids are never reused. A
database with other terms than this version's is upgraded: its items are queued for new ones, and
nothing else changes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vanta.language import SEGMENTATION

if TYPE_CHECKING:
    import sqlalchemy as sa

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS memories (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user TEXT NOT NULL,
        session TEXT NOT NULL,
        turn_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        role TEXT NOT NULL,
        text TEXT NOT NULL,
        said_at REAL NOT NULL,
        private INTEGER NOT NULL,
        tags TEXT NOT NULL,
        source TEXT NOT NULL,
        dates TEXT NOT NULL,
        scope TEXT NOT NULL,
        digest TEXT NOT NULL,
        message_id INTEGER UNIQUE,
        same_as INTEGER
    )""",
    "CREATE INDEX IF NOT EXISTS memories_of_session ON memories (user, session, id)",
    "CREATE INDEX IF NOT EXISTS memories_by_digest ON memories (digest, id)",
    "CREATE INDEX IF NOT EXISTS memories_by_time ON memories (user, said_at)",
    "CREATE TABLE IF NOT EXISTS word_queue (memory_id INTEGER PRIMARY KEY)",
    """CREATE TABLE IF NOT EXISTS memory_words (
        id INTEGER PRIMARY KEY,
        text TEXT NOT NULL,
        parts TEXT NOT NULL,
        scope TEXT NOT NULL
    )""",
    """CREATE VIRTUAL TABLE IF NOT EXISTS memories_fts USING fts5(
        text, parts, scope, content = 'memory_words', content_rowid = 'id',
        tokenize = 'porter ascii'
    )""",
    """CREATE TRIGGER IF NOT EXISTS words_added AFTER INSERT ON memory_words BEGIN
        INSERT INTO memories_fts (rowid, text, parts, scope)
        VALUES (new.id, new.text, new.parts, new.scope);
        DELETE FROM word_queue WHERE memory_id = new.id;
    END""",
    """CREATE TRIGGER IF NOT EXISTS words_removed AFTER DELETE ON memory_words BEGIN
        INSERT INTO memories_fts (memories_fts, rowid, text, parts, scope)
        VALUES ('delete', old.id, old.text, old.parts, old.scope);
    END""",
    """CREATE TRIGGER IF NOT EXISTS memories_added AFTER INSERT ON memories BEGIN
        INSERT INTO word_queue (memory_id) VALUES (new.id);
        INSERT INTO embedding_queue (memory_id) VALUES (new.id);
    END""",
    """CREATE TRIGGER IF NOT EXISTS memories_removed AFTER DELETE ON memories BEGIN
        DELETE FROM word_queue WHERE memory_id = old.id;
        DELETE FROM memory_words WHERE id = old.id;
        INSERT INTO index_outbox (user, private, embedder, memory_id)
        SELECT old.user, old.private, embedder, old.id FROM memory_vectors
        WHERE memory_id = old.id;
        DELETE FROM memory_vectors WHERE memory_id = old.id;
        DELETE FROM embedding_queue WHERE memory_id = old.id;
    END""",
    "CREATE TABLE IF NOT EXISTS message_queue (message_id INTEGER PRIMARY KEY)",
    """CREATE TRIGGER IF NOT EXISTS messages_added AFTER INSERT ON messages BEGIN
        INSERT INTO message_queue (message_id) VALUES (new.id);
    END""",
    """CREATE TRIGGER IF NOT EXISTS messages_removed AFTER DELETE ON messages BEGIN
        DELETE FROM message_queue WHERE message_id = old.id;
        DELETE FROM memories WHERE message_id = old.id;
    END""",
    """CREATE INDEX IF NOT EXISTS memories_derived ON memories (user, session)
        WHERE kind IN ('fact', 'summary')""",
    """CREATE TRIGGER IF NOT EXISTS derived_removed AFTER DELETE ON messages BEGIN
        DELETE FROM memories WHERE user = old.user AND session = old.session
        AND kind IN ('fact', 'summary') AND (kind = 'summary' OR turn_id = old.turn_id);
    END""",
    """CREATE TRIGGER IF NOT EXISTS messages_replaced AFTER UPDATE OF replaced ON messages
        WHEN new.replaced AND NOT old.replaced BEGIN
        DELETE FROM message_queue WHERE message_id = old.id;
        DELETE FROM memories WHERE message_id = old.id;
        DELETE FROM memories WHERE user = old.user AND session = old.session
        AND kind IN ('fact', 'summary') AND (kind = 'summary' OR turn_id = old.turn_id);
    END""",
    """CREATE TRIGGER IF NOT EXISTS messages_restored AFTER UPDATE OF replaced ON messages
        WHEN old.replaced AND NOT new.replaced BEGIN
        INSERT OR IGNORE INTO message_queue (message_id) VALUES (new.id);
    END""",
    """CREATE TRIGGER IF NOT EXISTS branch_changed AFTER UPDATE OF branch ON sessions
        WHEN new.branch <> old.branch BEGIN
        DELETE FROM memories
        WHERE user = old.user AND session = old.session AND kind = 'summary';
    END""",
    """CREATE INDEX IF NOT EXISTS memories_repeated ON memories (same_as)
        WHERE same_as IS NOT NULL""",
    """CREATE TRIGGER IF NOT EXISTS repeated_removed AFTER DELETE ON memories BEGIN
        UPDATE memories SET same_as = NULL WHERE same_as = old.id;
    END""",
    """CREATE TABLE IF NOT EXISTS memory_vectors (
        memory_id INTEGER NOT NULL,
        embedder TEXT NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (memory_id, embedder)
    )""",
    """CREATE TRIGGER IF NOT EXISTS vectors_added AFTER INSERT ON memory_vectors BEGIN
        INSERT INTO index_outbox (user, private, embedder, memory_id)
        SELECT user, private, new.embedder, id FROM memories WHERE id = new.memory_id;
    END""",
    "CREATE TABLE IF NOT EXISTS embedding_queue (memory_id INTEGER PRIMARY KEY)",
    """CREATE TABLE IF NOT EXISTS index_outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        user TEXT NOT NULL,
        private INTEGER NOT NULL,
        embedder TEXT NOT NULL,
        memory_id INTEGER NOT NULL
    )""",
)

_STATE = """CREATE TABLE IF NOT EXISTS memory_state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID"""

_DROP_TERMS = (
    *(
        f"DROP TRIGGER IF EXISTS {name}"
        for name in ("words_added", "words_removed", "memories_added", "memories_removed")
    ),
    "DROP TABLE IF EXISTS memories_fts",
    "DROP TABLE IF EXISTS memory_words",
)
_QUEUE_ALL = "INSERT OR IGNORE INTO word_queue (memory_id) SELECT id FROM memories"

_FIRST_USE = (
    "INSERT OR IGNORE INTO message_queue (message_id) SELECT id FROM messages WHERE NOT replaced",
    "INSERT INTO memory_state (key, value) VALUES ('begun', '1')",
)


def create_tables(connection: sa.Connection) -> None:
    """Create missing tables; on first use, queue all earlier messages.

    If the terms of the items are those of another version, they are dropped and all items queued.
    """
    connection.exec_driver_sql(_STATE)
    if _state(connection, "segmentation") != SEGMENTATION:
        _upgrade_terms(connection)
    for statement in _SCHEMA:
        connection.exec_driver_sql(statement)
    if _state(connection, "begun") is None:
        for statement in _FIRST_USE:
            connection.exec_driver_sql(statement)


def _upgrade_terms(connection: sa.Connection) -> None:
    # The write lock first: of several processes that start, one upgrades.
    write = "INSERT OR REPLACE INTO memory_state (key, value) VALUES (?, ?)"
    connection.exec_driver_sql(write, ("writer", ""))
    if _state(connection, "segmentation") == SEGMENTATION:
        return
    for statement in (*_DROP_TERMS, *_SCHEMA, _QUEUE_ALL):
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(write, ("segmentation", SEGMENTATION))


def _state(connection: sa.Connection, key: str) -> object:
    query = "SELECT value FROM memory_state WHERE key = ?"
    return connection.exec_driver_sql(query, (key,)).scalar()


def user_token(user: str, *, private: bool) -> str:
    """Return the search token of a user's public or private part. It is made of digits, which no
    stemmer changes."""
    return _token("p" if private else "u", user)


def session_token(user: str, session: str) -> str:
    """Return the search token of one session of a user."""
    return _token("s", f"{user}\0{session}")


def _token(letter: str, name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()[:12]
    return f"{letter}{int.from_bytes(digest, 'big')}"
