"""Memory under SIGKILL: the vector index alone, and the whole store with two processes.

The processes are separate programs, `index_processes.py` and `store_processes.py`, which define
what counts as lost. Invariant: a figure whose program failed has no value and states the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..report import Figure, Settings

_HERE = Path(__file__).parent
_SEED = 20


def figures(settings: Settings) -> list[Figure]:
    """Return the figures of the index, then those of the store with each index."""
    return [
        *_index_figures(settings),
        *_store_figures(settings, "chroma", settings.times(250, 2)),
        *_store_figures(settings, "scan", settings.times(250, 5)),
    ]


def _index_figures(settings: Settings) -> Iterator[Figure]:
    kills = settings.times(1_000, 6)
    tally, reason = _run_program(settings, "index_processes.py", kills, "ours", needs="chromadb")
    peers_kills = settings.times(300, 3)
    peer, no_peer = _run_program(
        settings, "index_processes.py", peers_kills, "plain", needs="chromadb"
    )
    note = reason or (
        f"{tally['kills']} kills of the owner, of Chroma's process or of both; "
        f"{tally['acknowledged']} records added or removed; {tally['built_again']} damaged "
        f"folders were detected and rebuilt; slowest opening and check "
        f"{tally['slowest_check_s']:.1f} s"
    )
    for name, key, unit in (
        ("acknowledged records lost", "lost", "records"),
        ("records there that were taken out", "foreign", "records"),
        ("records that do not find themselves", "not_found", "records"),
        ("owners that could not open what was left", "unopened", "processes"),
    ):
        yield Figure(
            name=f"index chroma, killed (SIGKILL): {name}",
            value=None if reason else tally[key],
            unit=unit,
            goal=0,
            peer=None if no_peer else "Chroma with its defaults, in the killed process",
            peer_value=None if no_peer else peer[key],
            note=note + (f"; of the peer {peer['kills']} kills" if peer else ""),
        )


def _store_figures(settings: Settings, index: str, rounds: int) -> Iterator[Figure]:
    needs = "chromadb" if index == "chroma" else "numpy"
    tally, reason = _run_program(settings, "store_processes.py", rounds, index, needs=needs)
    note = reason or (
        f"{tally['kills']} kills, two processes in one store; {tally['acknowledged']} exchanges "
        f"acknowledged, {tally['forgotten']} forgotten; slowest opening "
        f"{tally['slowest_open_s']:.1f} s"
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
            value=None if reason else tally[key],
            unit=unit,
            goal=0,
            note=note,
        )


def _run_program(
    settings: Settings, program: str, times: int, *rest: str, needs: str
) -> tuple[dict[str, Any], str]:
    """Return the tally that a program printed, or why it could not run."""
    if sys.platform == "win32":
        return {}, "this system has no SIGKILL"
    if find_spec(needs) is None:
        return {}, f"{needs} is not installed"
    step = " ".join(("kills", program.removesuffix(".py"), *rest))
    settings.progress(step, 0, times)
    command = [sys.executable, str(_HERE / program), str(times), str(_SEED), *rest]
    errors = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:  # the progress, and errors
            if line.strip().isdecimal():
                settings.progress(step, int(line), times)
            else:
                errors.append(line)
        output = process.stdout.read()
    if process.returncode:
        return {}, f"it failed: {''.join(errors).strip()[-200:]}"
    return json.loads(output), ""
