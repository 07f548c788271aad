"""The benchmark of the local engine, run through on a tiny model: what it tells is well-formed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import answer, engine_on, request
from vanta.cli.bench import PACKAGE, load_benchmarks

BENCHMARKS = load_benchmarks()
local: Any = importlib.import_module(f"{PACKAGE}.local")
local_mixed: Any = importlib.import_module(f"{PACKAGE}.local_mixed")
local_peer: Any = importlib.import_module(f"{PACKAGE}.local_peer")
local_seven: Any = importlib.import_module(f"{PACKAGE}.local_seven")
local_throughput: Any = importlib.import_module(f"{PACKAGE}.local_throughput")
NOT_HERE = {"output, of llama-batched-bench", "output, of llama-server", "7B-shaped: load"}
BATCHED = """#!{python}
import sys
width = int(sys.argv[sys.argv.index("-npl") + 1])
print('{{"pl": %d, "speed_tg": %f}}' % (width, 50.0 * width))
print("llama_perf: done")
"""
SERVER = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self): self.send()
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        delta = {{"choices": [{{"delta": {{"content": "a"}}}}]}}
        said = [delta] * asked["max_tokens"]
        usage = {{"choices": [], "usage": {{"completion_tokens": len(said)}}}}
        self.send(*(f"data: {{json.dumps(each)}}" for each in (*said, usage)), "data: [DONE]")
    def send(self, *lines):
        self.send_response(200)
        self.end_headers()
        self.wfile.write("\\n".join(lines).encode())

port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def path(smollm2_path: Path, tmp_path: Path) -> Path:
    """The tiny model."""
    return write_random_model(tmp_path / "random.gguf", smollm2_path)


def programs(folder: Path) -> Path:
    """A folder with programs that answer as llama.cpp's do."""
    for name, text in ((local_peer.BATCHED, BATCHED), (local_peer.SERVER, SERVER)):
        program = folder / name
        program.write_text(text.format(python=sys.executable))
        program.chmod(0o755)
    return folder


def test_every_figure_is_taken_or_says_why_not(path: Path) -> None:
    """On a model that is no model, so goals do not matter here."""
    settings = BENCHMARKS.Settings(quick=True, repetitions=2)
    figures = list(local.measure(path, settings))
    told = BENCHMARKS.report("local", figures, quick=True)["figures"]
    assert len(told) > 12
    assert {figure["name"] for figure in told if figure["value"] is None} == NOT_HERE
    values = {figure["name"]: figure["value"] for figure in told}
    assert values["tokens read for 16 sessions with one system prompt, of one reading"] < 1.1
    assert values["output at 16 conversations, of the class Llama's"] > 0


def test_llama_cpps_own_programs_are_peers_where_they_are_given(path: Path, tmp_path: Path) -> None:
    """Each at every width, with flash attention and without."""
    settings = BENCHMARKS.Settings(quick=True, llama_bin=programs(tmp_path))
    figures = anyio.run(local_throughput.throughput, path, settings)
    for peer in (local_peer.BATCHED, local_peer.SERVER):
        found = [figure for figure in figures if figure.peer == peer]
        assert len({figure.name for figure in found}) == 2 * len(local_throughput.WIDTHS)
        assert all(figure.value > 0 for figure in found)


def test_conversations_far_apart_and_uneven_ones_have_the_server_as_peer(
    path: Path, tmp_path: Path
) -> None:
    """Where it is given; else the engine itself."""
    alone = anyio.run(local_mixed.mixed, path, BENCHMARKS.Settings(quick=True))
    assert [figure.peer == local_peer.SERVER for figure in alone] == [False, False]
    settings = BENCHMARKS.Settings(quick=True, llama_bin=programs(tmp_path))
    beside = anyio.run(local_mixed.mixed, path, settings)
    assert [figure.peer == local_peer.SERVER for figure in beside] == [True] * 4
    assert all(figure.value > 0 for figure in (*alone, *beside))


def test_a_ratio_is_the_median_of_its_rounds() -> None:
    """And holds where it reaches the goal."""

    def figure(goal: float, *pairs: tuple[float, float]) -> Any:
        race = local_throughput.Race("a peer's", local_peer.BATCHED, 4, False, None, goal)
        race.pairs += pairs
        return race.figure()

    assert figure(0.95, (90.0, 100.0), (100.0, 100.0), (10.0, 100.0)).value == pytest.approx(0.9)
    assert figure(0.95, (90.0, 100.0)).holds is False
    assert figure(0.95, (96.0, 100.0)).holds is True
    assert figure(1.0, (96.0, 100.0)).holds is False


def test_a_program_that_is_not_in_the_folder_is_no_peer(tmp_path: Path) -> None:
    """Nor is any without a folder."""
    assert local_peer.program(BENCHMARKS.Settings(), local_peer.SERVER) is None
    assert local_peer.program(BENCHMARKS.Settings(llama_bin=tmp_path), local_peer.SERVER) is None


def test_the_large_shape_is_a_model(smollm2_path: Path, tmp_path: Path) -> None:
    """Written smaller here: it loads and answers."""
    path = tmp_path / "shape.gguf"
    local_seven.write_shape(path, smollm2_path, layers=1, width=256, hidden=704)

    async def asked() -> int:
        engine = engine_on(path, threads=1)
        told = await answer(engine, request(max_tokens=4))
        await engine.aclose()
        return told.usage.output_tokens if told.usage else 0

    assert anyio.run(asked) == 4
