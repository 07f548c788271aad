"""Memory under SIGKILL: the vector index alone, and the whole store with two processes.

The processes are programs of their own, `memory_index_mortals.py` and `memory_mortals.py`, which
say what counts as lost. Invariant: a figure whose program failed has no value and says why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .report import Figure
from .settings import Settings

_HERE = Path(__file__).parent
_SEED = 20


def figures(settings: Settings) -> list[Figure]:
    """The index, then the store with each index."""
    return [
        *_of_the_index(settings),
        *_of_the_store(settings, "chroma", settings.times(250, 2)),
        *_of_the_store(settings, "scan", settings.times(250, 5)),
    ]


def _of_the_index(settings: Settings) -> Iterator[Figure]:
    kills = settings.times(1_000, 6)
    found, why = _told(settings, "memory_index_mortals.py", kills, "ours", needs="chromadb")
    peers_kills = settings.times(300, 3)
    peer, no_peer = _told(
        settings, "memory_index_mortals.py", peers_kills, "plain", needs="chromadb"
    )
    note = why or (
        f"{found['kills']} kills of the owner, of Chroma's process or of both; "
        f"{found['acknowledged']} records put in or taken out; {found['built_again']} times the "
        f"folder said that it was damaged and was built again; slowest opening and look "
        f"{found['slowest_check_s']:.1f} s"
    )
    for name, key, unit in (
        ("acknowledged records lost", "lost", "records"),
        ("records there that were taken out", "foreign", "records"),
        ("records that do not find themselves", "not_found", "records"),
        ("owners that could not open what was left", "unopened", "processes"),
    ):
        yield Figure(
            name=f"index chroma, killed (SIGKILL): {name}",
            value=None if why else found[key],
            unit=unit,
            goal=0,
            peer=None if no_peer else "Chroma as it comes, in the process that is killed",
            peer_value=None if no_peer else peer[key],
            note=note + (f"; of the peer {peer['kills']} kills" if peer else ""),
        )


def _of_the_store(settings: Settings, index: str, rounds: int) -> Iterator[Figure]:
    needs = "chromadb" if index == "chroma" else "numpy"
    found, why = _told(settings, "memory_mortals.py", rounds, index, needs=needs)
    note = why or (
        f"{found['kills']} kills, two processes in one store; {found['acknowledged']} exchanges "
        f"acknowledged, {found['forgotten']} forgotten; slowest opening "
        f"{found['slowest_open_s']:.1f} s"
    )
    for name, key, unit in (
        ("acknowledged exchanges lost", "lost", "exchanges"),
        ("stores that do not open", "unopened", "stores"),
        ("records that do not find themselves", "not_found", "records"),
        ("vectors out of step once the index had followed", "not_in_step", "vectors"),
        ("forgotten exchanges of which a byte was left", "bytes_left", "exchanges"),
    ):
        yield Figure(
            name=f"memory with {index}, killed (SIGKILL): {name}",
            value=None if why else found[key],
            unit=unit,
            goal=0,
            note=note,
        )


def _told(
    settings: Settings, program: str, times: int, *rest: str, needs: str
) -> tuple[dict[str, Any], str]:
    """What a program printed, or why it could not."""
    if sys.platform == "win32":
        return {}, "this system has no SIGKILL"
    if find_spec(needs) is None:
        return {}, f"{needs} is not installed"
    what = " ".join(("kills", program.removesuffix(".py"), *rest))
    settings.progress(what, 0, times)
    command = [sys.executable, str(_HERE / program), str(times), str(_SEED), *rest]
    told = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:  # its counter, and what went wrong
            if line.strip().isdecimal():
                settings.progress(what, int(line), times)
            else:
                told.append(line)
        found = process.stdout.read()
    if process.returncode:
        return {}, f"it failed: {''.join(told).strip()[-200:]}"
    return json.loads(found), ""
