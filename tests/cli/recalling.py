"""A user who has an embedder, `hash`, that a test can hold up: a stranger's plugin on disk.

Each `embed` writes the number of its texts into the journal; from the second one on it waits while
the file `hold` is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PLUGIN = """
import os
from pathlib import Path

import anyio

import vanta
from vanta.testing import HashEmbedder, hash_plugin

HOME = Path(os.environ["HASHING_HOME"])


class Holding(HashEmbedder):
    calls = 0

    async def embed(self, texts):
        self.calls += 1
        with (HOME / "journal").open("a") as journal:
            journal.write(f"{len(texts)}\\n")
        while self.calls > 1 and (HOME / "hold").exists():
            await anyio.sleep(0.005)
        return await super().embed(texts)


@vanta.hookimpl
def vanta_embedders():
    return hash_plugin(Holding()).vanta_embedders()
"""
CONFIG = """
[plugins]
allow = ["hashing", "stage"]
[memory]
embedder = "hash"
index = "none"
"""
NOON = 1_779_969_600.0
"""Noon (UTC) of 2026-05-28, in seconds since 1970."""


def line(text: str, **fields: Any) -> dict[str, Any]:
    """An item of memory as a line of an export has it."""
    return {"user": "default", "kind": "fact", "text": text, "said_at": NOON, **fields}


def write(path: Path, lines: Iterable[dict[str, Any]]) -> str:
    """Write lines into a file; returns its name."""
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines), encoding="utf-8")
    return str(path)
