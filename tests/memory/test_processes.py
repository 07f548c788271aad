"""Memory across processes: killed at random moments, and without any network call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vanta.installation import benchmarks_dir
from vanta.models import ModelStore, default_root

WATCH = """
import os, sys

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
                 "socket.gethostbyname"):
        with open(os.environ["WATCHED"], "a") as log:
            log.write(f"{os.getpid()} {sys.argv} {event} {args!r}\\n")

sys.addaudithook(watch)
with open(os.environ["WATCHED"] + ".pids", "a") as log:
    log.write(f"{os.getpid()}\\n")
"""

LIFE = """
import sys
from functools import partial
import anyio
import vanta
from vanta.memory import Scope, Selection
from vanta.memory.search import semantic
from vanta.testing import ScriptedEngine, scripted_plugin

config = {
    "policy": "local", "data_dir": sys.argv[1],
    "memory": {"embedder": "minilm", "index": "chroma", "recall_timeout_s": 30.0},
    "tracks": {"local": {"engine": "scripted", "model": "m", "private": True},
               "api": {"enabled": False}},
}

semantic.SMALL_PARTITION = 0  # so that the index is searched

async def main():
    async with vanta.open(config, plugins=[scripted_plugin(local=ScriptedEngine("ok"))]) as runtime:
        await runtime.session("one").ask("My dog is called Biscuit.")
        assert await runtime.memory.ready(Scope("default", private=True)) == ""
        reply = await runtime.session("two").ask("How is my puppy named?")
        assert reply.trace.recall.index == "chroma", reply.trace.recall
        assert (await runtime.memory.forget(Selection("default", everything=True))).certain

anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_memory_makes_no_network_call_in_any_process(tmp_path: Path, backend: str) -> None:
    ModelStore(default_root()).pull("all-minilm-l6-v2")
    data_dir = tmp_path / "home"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(default_root())
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "watched"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "WATCHED": str(log)}
    done = subprocess.run(
        [sys.executable, "-c", LIFE, str(data_dir), backend],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pids = set(Path(f"{log}.pids").read_text("utf-8").split())
    assert len(pids) >= 2, "the index was to run in a process of its own, and to be watched there"
    assert not log.exists(), log.read_text("utf-8")


@pytest.mark.parametrize(("index", "rounds"), [("scan", 5), ("chroma", 2)])
@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_when_processes_are_killed(index: str, rounds: int) -> None:
    program = benchmarks_dir() / "memory" / "store_processes.py"
    done = subprocess.run(
        [sys.executable, str(program), str(rounds), "11", index],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 2 * rounds
    assert found["acknowledged"] > rounds
    assert {
        name: found[name] for name in ("lost", "unopened", "not_found", "bytes_left", "not_in_step")
    } == dict.fromkeys(("lost", "unopened", "not_found", "bytes_left", "not_in_step"), 0), (
        done.stderr
    )
