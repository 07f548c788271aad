"""A user who has an embedder, `hash`, that a test can hold up: a stranger's plugin on disk.

Each `embed` writes the number of its texts into the journal; from the second one on it waits while
the file `hold` is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.cli.stage import Stage

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
MEMORY = """
[memory]
embedder = "hash"
index = "none"
recall_timeout_s = 30
"""
CONFIG = f"""
[plugins]
allow = ["hashing"]
{MEMORY}
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


def set_up_recall(stage: Stage) -> dict[str, str]:
    """Put the plugin and its configuration into a stage; returns what the environment needs."""
    (stage.folder / "hashing.py").write_text(PLUGIN)
    info = stage.folder / "hashing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hashing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vanta]\nhashing = hashing\n")
    told = stage.config.read_text().replace('allow = ["stage"]', 'allow = ["hashing", "stage"]')
    stage.config.write_text(f"{told}{MEMORY}")
    return {"HASHING_HOME": str(stage.folder)}
