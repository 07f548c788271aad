"""The tables of memory, in the database of the transcript store (SQLite only).

`memories` is the truth for documents, facts and summaries. Messages are copied into it from the
store's `messages`, which stay the truth for them (`message_queue`: not copied yet). `memories_fts`
is an FTS5 index over it; its column `scope` holds tokens for user, privacy and session, so a match
expression names whose memory it searches. `memory_vectors` holds embeddings by embedder fingerprint
(float32, little endian, length 1). `embedding_queue` lists texts without a vector, `index_outbox`
changes that the vector index has not applied. `same_as` of a repeated item is the id of its latest
repetition, the only one that is found; `digest` detects repetitions.

Invariants: triggers keep all tables consistent, so deleting a message or a memory deletes all data
derived from it; ids are never reused.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

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
    """CREATE VIRTUAL TABLE IF NOT EXISTS memories_fts USING fts5(
        text, scope, content = 'memories', content_rowid = 'id',
        tokenize = 'porter unicode61 remove_diacritics 2'
    )""",
    """CREATE TRIGGER IF NOT EXISTS memories_added AFTER INSERT ON memories BEGIN
        INSERT INTO memories_fts (rowid, text, scope) VALUES (new.id, new.text, new.scope);
        INSERT INTO embedding_queue (memory_id) VALUES (new.id);
    END""",
    """CREATE TRIGGER IF NOT EXISTS memories_removed AFTER DELETE ON memories BEGIN
        INSERT INTO memories_fts (memories_fts, rowid, text, scope)
        VALUES ('delete', old.id, old.text, old.scope);
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
    """CREATE TABLE IF NOT EXISTS memory_state (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID""",
)

_FIRST_USE = (
    "INSERT OR IGNORE INTO message_queue (message_id) SELECT id FROM messages",
    "INSERT INTO memory_state (key, value) VALUES ('begun', '1')",
)


def create_tables(connection: sa.Connection) -> None:
    """Create missing tables; on first use, queue all earlier messages."""
    for statement in _SCHEMA:
        connection.exec_driver_sql(statement)
    begun = "SELECT 1 FROM memory_state WHERE key = 'begun'"
    if connection.exec_driver_sql(begun).first() is None:
        for statement in _FIRST_USE:
            connection.exec_driver_sql(statement)


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
