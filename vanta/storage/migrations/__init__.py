"""The revisions of the store's schema, applied with Alembic.

A schema version is the number of a revision: version 2 is revision `0002` in `versions/`. A change
of a table in `vanta.storage.schema` needs a revision that changes the tables of older databases in
the same way, and a higher `SCHEMA_VERSION`; a test compares an upgraded database with a new one.
Invariant: a revision that was released is never edited, and names its tables itself, since those in
`schema` are the latest ones.
"""
