"""A file that ends the process is tried in another process first: an error, never a signal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from tests.llamacpp.mutants import BERT_CHANGES, CHANGES, SLIDING_CHANGES, damaged, flipped
from tests.llamacpp.random_bert import write_random_bert
from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import engine_on
from tests.models.ggufs import patched, text
from vanta.engine import ModelFile
from vanta.errors import EngineError
from vanta.models import read_gguf
from vanta_llamacpp.model.header_checks import facts_of
from vanta_llamacpp.model.probe import Probe, ProbeError, ProbeStopped

LOADING = """
import json, sys, anyio
from pathlib import Path
from tests.llamacpp.support import answer, engine_on, request
from vanta.errors import EngineError
async def tried(path):
    engine = engine_on(path, window=None, parallel=2)
    try:
        if "bert" in path.name:
            await engine.embed(["rain falls"])
        else:
            await answer(engine, request("Hi  \\0 \\u4e16", max_tokens=2))
    except EngineError as error:
        return f"EngineError: {error}"
    finally:
        await engine.aclose()
    return "answered"
for path in sys.argv[1:]:
    print(json.dumps(anyio.run(tried, Path(path))), flush=True)
"""
HANGS = (sys.executable, "-c", "import time; time.sleep(600)")
FAILS = (sys.executable, "-c", "raise SystemExit('no second try')")


def outcomes(paths: list[Path]) -> dict[str, str]:
    """Load each file and use it, all in one process, which must survive."""
    ran = subprocess.run(
        [sys.executable, "-c", LOADING, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    names = [path.stem for path in paths]
    return dict(zip(names, map(json.loads, ran.stdout.splitlines()), strict=True))


def check(probe: Probe, path: Path) -> None:
    probe.check(ModelFile(path.stem, path), facts_of(read_gguf(path)), lambda: True)


@pytest.mark.timeout(900)
def test_no_mutant_ends_the_process(random_path: Path, tmp_path: Path) -> None:
    sliding = write_random_model(tmp_path / "sliding.gguf", random_path, sliding=64)
    bert = write_random_bert(tmp_path / "bert.gguf")
    named = ("epsilon NaN", "epsilon negative", "keys", "no expert used", "bytes", "spaces")
    paths = [
        random_path,
        bert,
        *damaged(random_path, tmp_path, "llama", {name: CHANGES[name] for name in named}),
        *damaged(sliding, tmp_path, "cohere2", dict([*SLIDING_CHANGES.items()][-5:])),
        *damaged(bert, tmp_path, "bert", dict([*BERT_CHANGES.items()][-3:])),
        *flipped(random_path, tmp_path, 18, seed=11),
        *flipped(bert, tmp_path, 8, seed=12),
    ]
    results = outcomes(paths)
    assert results.pop(random_path.stem) == results.pop("bert") == "answered"
    assert all(result.startswith(("answered", "EngineError: ")) for result in results.values())
    for name in named:
        assert "the model file is not usable" in results[f"llama {name}"], name


@pytest.mark.parametrize("epsilon", [float("nan"), -1.0])
def test_an_epsilon_that_aborts_llama_cpp_is_an_error(
    epsilon: float, random_path: Path, tmp_path: Path
) -> None:
    changes: dict[str, object] = {"llama.attention.layer_norm_rms_epsilon": epsilon}
    path = patched(random_path, tmp_path / "epsilon.gguf", changes)
    with pytest.raises(ProbeError, match=r"ended the process|not finite"):
        check(Probe("build", plain_attention=True, folder=tmp_path / "probed"), path)


def test_a_token_that_occurs_twice_is_an_error(random_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.gguf"
    path.write_bytes(random_path.read_bytes().replace(text("Ġthe"), text("Ġand"), 1))
    with pytest.raises(ProbeError, match="ended the process"):
        check(Probe("build", plain_attention=True, folder=tmp_path / "probed"), path)


def test_a_file_that_passed_is_not_tried_again_unless_it_changes(
    random_path: Path, tmp_path: Path
) -> None:
    folder, build = tmp_path / "probed", f"build {tmp_path}"
    check(Probe(build, plain_attention=True, folder=folder), random_path)
    check(Probe(build, plain_attention=True, folder=folder, command=FAILS), random_path)
    assert len([*folder.iterdir()]) == 1
    changed = patched(random_path, tmp_path / "changed.gguf", {"general.name": "Changed"})
    for path, other_build in ((changed, build), (random_path, f"other {build}")):
        probe = Probe(other_build, plain_attention=True, folder=folder, command=FAILS)
        with pytest.raises(ProbeError, match=r"exit status 1\): no second try"):
            check(probe, path)


def test_a_file_whose_hash_the_registry_knows_is_not_tried(
    random_path: Path, tmp_path: Path
) -> None:
    details = {"sha256": 64 * "a", "size_bytes": random_path.stat().st_size}
    probe = Probe(f"known {tmp_path}", plain_attention=True, folder=tmp_path / "n", command=FAILS)
    facts = facts_of(read_gguf(random_path))
    probe.check(ModelFile("known", random_path, details), facts, lambda: True)
    damaged_details = {**details, "size_bytes": 1}
    with pytest.raises(ProbeError):
        probe.check(ModelFile("known", random_path, damaged_details), facts, lambda: True)


def test_a_file_that_hangs_is_an_error(random_path: Path, tmp_path: Path) -> None:
    probe = Probe(f"hang {tmp_path}", plain_attention=True, command=HANGS, seconds=0.2)
    with pytest.raises(ProbeError, match=r"keeps llama.cpp busy for more than 0\.2 s"):
        check(probe, random_path)


def test_a_probe_that_is_stopped_leaves_no_process(random_path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    program = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    command = (sys.executable, "-c", program)
    probe = Probe(f"stop {tmp_path}", plain_attention=True, command=command)
    facts = facts_of(read_gguf(random_path))

    def keep_going() -> bool:
        return not (mark.exists() and mark.read_text())

    with pytest.raises(ProbeStopped):
        probe.check(ModelFile("stopped", random_path), facts, keep_going)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


@pytest.mark.anyio
@pytest.mark.one_loop
async def test_closing_an_engine_stops_its_probe(
    random_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VANTA_DATA_DIR", str(tmp_path))
    name = f"Closed {anyio.get_current_task().id}"
    engine = engine_on(patched(random_path, tmp_path / "closed.gguf", {"general.name": name}))
    raised = []

    async def load() -> None:
        with pytest.raises(EngineError) as error:
            await engine.load()
        raised.append(str(error.value))

    began = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(load)
        await anyio.wait_all_tasks_blocked()
        await engine.aclose()
    assert raised
    assert time.monotonic() - began < 30
    assert not (tmp_path / "models" / ".probed").exists()
