"""What tables a database has, for comparisons."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vanta.storage.schema import metadata


def described(url: str | sa.URL) -> dict[str, Any]:
    """Return the store's tables: columns with types and nullability, primary keys, indexes."""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {name: _table(inspector, name) for name in sorted(metadata.tables)}
    engine.dispose()
    return found


def _table(inspector: sa.Inspector, name: str) -> dict[str, Any]:
    columns = {
        column["name"]: (str(column["type"]), column["nullable"], column["default"])
        for column in inspector.get_columns(name)
    }
    indexes = {item["name"]: item["column_names"] for item in inspector.get_indexes(name)}
    keys = inspector.get_pk_constraint(name)["constrained_columns"]
    foreign = [
        (item["constrained_columns"], item["referred_table"])
        for item in inspector.get_foreign_keys(name)
    ]
    return {"columns": columns, "indexes": indexes, "keys": keys, "foreign": foreign}
