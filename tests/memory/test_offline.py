"""Memory needs no network: a whole life of it, watched by Python itself in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
from vanta.testing import ScriptedEngine, scripted_plugin

config = {
    "policy": "local", "data_dir": sys.argv[1],
    "memory": {"embedder": "minilm", "index": "chroma", "recall_timeout_s": 30.0},
    "tracks": {"local": {"engine": "scripted", "model": "m", "private": True},
               "api": {"enabled": False}},
}

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
def test_a_life_of_memory_makes_no_network_call_in_any_process(
    tmp_path: Path, backend: str
) -> None:
    ModelStore(default_root()).pull("all-minilm-l6-v2")
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(default_root())
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "watched"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "WATCHED": str(log)}
    done = subprocess.run(
        [sys.executable, "-c", LIFE, str(home), backend],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pids = set(Path(f"{log}.pids").read_text("utf-8").split())
    assert len(pids) >= 2, "the index was to run in a process of its own, and to be watched there"
    assert not log.exists(), log.read_text("utf-8")
