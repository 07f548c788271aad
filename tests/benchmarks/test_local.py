"""The benchmark of the local engine on a tiny model: its figures are well-formed."""

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
large_model: Any = importlib.import_module(f"{PACKAGE}.local.large_model")
mixed: Any = importlib.import_module(f"{PACKAGE}.local.mixed")
peers: Any = importlib.import_module(f"{PACKAGE}.local.peers")
throughput: Any = importlib.import_module(f"{PACKAGE}.local.throughput")
NOT_MEASURED = {"output, of llama-batched-bench", "output, of llama-server", "7B-shaped: load"}
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
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        delta = {{"choices": [{{"delta": {{"content": "a"}}}}]}}
        deltas = [delta] * request["max_tokens"]
        usage = {{"choices": [], "usage": {{"completion_tokens": len(deltas)}}}}
        self.send(*(f"data: {{json.dumps(item)}}" for item in (*deltas, usage)), "data: [DONE]")
    def send(self, *lines):
        self.send_response(200)
        self.end_headers()
        self.wfile.write("\\n".join(lines).encode())

port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def path(smollm2_path: Path, tmp_path: Path) -> Path:
    """Write the tiny model."""
    return write_random_model(tmp_path / "random.gguf", smollm2_path)


def programs(folder: Path) -> Path:
    """Write programs to `folder` that answer like those of llama.cpp."""
    for name, text in ((peers.BATCHED, BATCHED), (peers.SERVER, SERVER)):
        program = folder / name
        program.write_text(text.format(python=sys.executable))
        program.chmod(0o755)
    return folder


@pytest.mark.timeout(300)
def test_every_figure_is_measured_or_has_a_reason(path: Path) -> None:
    """The weights are random, so goals do not matter."""
    settings = BENCHMARKS.Settings(quick=True, repetitions=2)
    figures = list(local.measure(path, settings))
    rows = BENCHMARKS.report("local", figures, quick=True)["figures"]
    assert len(rows) > 12
    assert {figure["name"] for figure in rows if figure["value"] is None} == NOT_MEASURED
    values = {figure["name"]: figure["value"] for figure in rows}
    assert values["tokens read for 16 sessions with one system prompt, of one reading"] < 1.1
    assert values["output at 16 conversations, of the class Llama's"] > 0


def test_programs_of_llama_cpp_are_peers_if_they_are_found(path: Path, tmp_path: Path) -> None:
    """Each is a peer at every width, with and without flash attention."""
    settings = BENCHMARKS.Settings(quick=True, llama_bin=programs(tmp_path))
    figures = anyio.run(throughput.concurrent_throughput, path, settings)
    for peer in (peers.BATCHED, peers.SERVER):
        by_peer = [figure for figure in figures if figure.peer == peer]
        assert len({figure.name for figure in by_peer}) == 2 * len(throughput.WIDTHS)
        assert all(figure.value > 0 for figure in by_peer)


def test_mixed_conversations_have_the_server_as_peer(path: Path, tmp_path: Path) -> None:
    """Without the server, the engine itself is the peer."""
    alone = anyio.run(mixed.mixed_conversations, path, BENCHMARKS.Settings(quick=True))
    assert [figure.peer == peers.SERVER for figure in alone] == [False, False]
    settings = BENCHMARKS.Settings(quick=True, llama_bin=programs(tmp_path))
    beside = anyio.run(mixed.mixed_conversations, path, settings)
    assert [figure.peer == peers.SERVER for figure in beside] == [True] * 4
    assert all(figure.value > 0 for figure in (*alone, *beside))


def test_a_ratio_is_the_median_of_its_rounds() -> None:
    """The figure holds if the median reaches the goal."""

    def figure(goal: float, *pairs: tuple[float, float]) -> Any:
        comparison = throughput.WidthComparison("a peer's", peers.BATCHED, 4, False, None, goal)
        comparison.pairs += pairs
        return comparison.figure()

    assert figure(0.95, (90.0, 100.0), (100.0, 100.0), (10.0, 100.0)).value == pytest.approx(0.9)
    assert figure(0.95, (90.0, 100.0)).holds is False
    assert figure(0.95, (96.0, 100.0)).holds is True
    assert figure(1.0, (96.0, 100.0)).holds is False


def test_a_program_outside_the_folder_is_not_a_peer(tmp_path: Path) -> None:
    """Without a folder there are no programs."""
    assert peers.program(BENCHMARKS.Settings(), peers.SERVER) is None
    assert peers.program(BENCHMARKS.Settings(llama_bin=tmp_path), peers.SERVER) is None


def test_the_large_shape_is_a_model(smollm2_path: Path, tmp_path: Path) -> None:
    """A smaller file of the same layout loads and answers."""
    path = tmp_path / "shape.gguf"
    large_model.write_shape(path, smollm2_path, layers=1, width=256, hidden=704)

    async def count_tokens() -> int:
        engine = engine_on(path, threads=1)
        reply = await answer(engine, request(max_tokens=4))
        await engine.aclose()
        return reply.usage.output_tokens if reply.usage else 0

    assert anyio.run(count_tokens) == 4
