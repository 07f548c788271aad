"""Getting a model, or saying why there is none; and that nothing native is loaded before."""

from __future__ import annotations

import ctypes
import logging
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import MakeEngine, answer, request
from tests.models.ggufs import gguf, write
from vanta import install_hint
from vanta.engine import EngineContext, ModelFile
from vanta.errors import EngineError, ErrorKind, ModelStoreError, UnknownName
from vanta.models import read_gguf
from vanta_llamacpp import vanta_engines
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model import native
from vanta_llamacpp.model.header_checks import facts_of
from vanta_llamacpp.model.model import LoadPlan, fits, model_params, offloaded_layers
from vanta_llamacpp.options import LlamaCppOptions

pytestmark = pytest.mark.anyio


async def failure(engine: LlamaCppEngine) -> EngineError:
    """Why it cannot be loaded: whoever asks is told the same."""
    with pytest.raises(EngineError) as raised:
        await engine.load()
    with pytest.raises(EngineError) as again:
        await answer(engine, request())
    assert again.value.kind is raised.value.kind
    assert not (await engine.health(force=True)).ok
    assert raised.value.suggestion
    return raised.value


async def test_a_missing_file_is_not_found(make_engine: MakeEngine, tmp_path: Path) -> None:
    """It names the file."""
    error = await failure(make_engine(path=tmp_path / "none.gguf"))
    assert error.kind is ErrorKind.MODEL_NOT_FOUND
    assert "none.gguf" in str(error)
    assert await make_engine(path=tmp_path / "none.gguf").models() == ()


@pytest.mark.parametrize("content", [b"", b"not a model", gguf()[:500], gguf(version=9)])
async def test_a_broken_file_is_not_loaded(
    make_engine: MakeEngine, tmp_path: Path, content: bytes
) -> None:
    """It names file and fault."""
    error = await failure(make_engine(path=write(tmp_path, content)))
    assert error.kind is ErrorKind.MODEL_NOT_LOADED
    assert "not usable" in str(error)
    assert "model.gguf" in str(error)


async def test_a_directory_is_not_loaded(make_engine: MakeEngine, tmp_path: Path) -> None:
    """Nor anything else that is no file."""
    assert (await failure(make_engine(path=tmp_path))).kind is ErrorKind.MODEL_NOT_LOADED


async def test_what_llama_cpp_refuses_is_told_in_its_words(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    """A header without a fault, and yet no model."""
    error = await failure(make_engine(path=write(tmp_path, gguf()), window=None))
    assert error.kind is ErrorKind.MODEL_NOT_LOADED
    assert "llama.cpp refused the file" in str(error)


@pytest.mark.parametrize("cause", [ModelStoreError("not fetched"), UnknownName("model", "x", [])])
async def test_what_the_registry_does_not_find_is_not_found(cause: Exception) -> None:
    """Its words are kept."""

    def find(_name: str) -> ModelFile:
        raise cause

    engine = LlamaCppEngine(LlamaCppOptions(), EngineContext("local", "x", None, find))
    error = await failure(engine)
    assert error.kind is ErrorKind.MODEL_NOT_FOUND
    assert str(cause) in str(error)
    assert error.__cause__ is cause
    await engine.aclose()


async def test_a_file_that_appears_later_is_loaded(
    make_engine: MakeEngine, smollm2_path: Path, tmp_path: Path
) -> None:
    """A failure is not for ever."""
    path = tmp_path / "late.gguf"
    engine = make_engine(path=path)
    await failure(engine)
    path.symlink_to(smollm2_path)
    assert (await answer(engine, request())).text


async def test_a_window_beyond_the_model_is_refused(make_engine: MakeEngine) -> None:
    """With the number that works."""
    error = await failure_to_load(make_engine(window=9000))
    assert error.kind is ErrorKind.MODEL_NOT_LOADED
    assert "8192" in error.suggestion


async def failure_to_load(engine: LlamaCppEngine) -> EngineError:
    """Why a file that is right cannot be loaded so."""
    with pytest.raises(EngineError) as raised:
        await engine.load()
    return raised.value


async def test_a_gpu_that_the_library_cannot_use_is_refused(make_engine: MakeEngine) -> None:
    """Layers are never silently left on the processor."""
    from llama_cpp import llama_supports_gpu_offload

    if llama_supports_gpu_offload():
        pytest.skip("this build can")
    error = await failure_to_load(make_engine(gpu_layers=10))
    assert error.kind is ErrorKind.UNSUPPORTED
    assert "gpu_layers" in error.suggestion


async def test_the_window_is_the_models_up_to_8192(make_engine: MakeEngine) -> None:
    """Where the configuration asks for none."""
    engine = make_engine(window=None)
    assert engine.window is None
    await engine.load()
    assert engine.window == engine.stats()["window"] == 8192


@pytest.mark.skipif(sys.platform == "win32", reason="sleeps with the C library's usleep")
def test_a_quick_call_lets_no_other_thread_in_between() -> None:
    """Tens of thousands of them, one for each token, would else wait for the lock at each."""
    usleep = ctypes.CDLL(None).usleep
    usleep.restype, usleep.argtypes = ctypes.c_int, (ctypes.c_uint32,)
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    def counted_during(function: Any) -> int:
        before = counted[0]
        assert function(100_000) == 0
        return counted[0] - before

    counter = threading.Thread(target=count)
    counter.start()
    try:
        held = min(counted_during(native.quick(usleep)) for _ in range(3))
        let_go = max(counted_during(usleep) for _ in range(3))
    finally:
        done.set()
        counter.join()
    assert held < let_go / 5


async def test_threads_are_those_asked_for(make_engine: MakeEngine) -> None:
    """And the machine's cores by default."""
    from vanta_llamacpp.model.native import cores

    one, default = make_engine(threads=1), make_engine()
    await one.load()
    await default.load()
    assert one.stats()["threads"] == 1
    assert default.stats()["pace"]["most_threads"] == cores()


async def test_stats_tell_loads_and_tokens(make_engine: MakeEngine) -> None:
    """Of the engine's life so far."""
    engine = make_engine()
    assert engine.stats()["loaded"] is False
    await engine.load()
    await engine.load()
    told = await answer(engine, request())
    stats = engine.stats()
    assert told.usage is not None
    assert (stats["loads"], stats["requests"], stats["queue"]) == (1, 1, 0)
    assert stats["input_tokens"] == told.usage.input_tokens
    assert stats["output_tokens"] == told.usage.output_tokens
    assert stats["load_s"] > 0
    assert stats["tokens_per_s"] > 0
    assert (await engine.models())[0].details["quantisation"] == "Q4_1"


async def test_the_librarys_log_goes_to_ours(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """At DEBUG, and nothing on the terminal."""
    quiet = make_engine()
    await quiet.load()
    assert not [record for record in caplog.records if record.name == "vanta.llamacpp"]
    with caplog.at_level(logging.DEBUG, "vanta.llamacpp"):
        await make_engine().load()
    told = [record for record in caplog.records if record.name == "vanta.llamacpp"]
    assert told
    assert {record.levelno for record in told} == {logging.DEBUG}
    assert capfd.readouterr() == ("", "")


def test_the_factory_says_what_it_needs() -> None:
    """For `vanta engines list` and `vanta doctor`."""
    (factory,) = vanta_engines()
    assert (factory.name, factory.requires, factory.extra) == (
        "llamacpp",
        "llama_cpp",
        "llamacpp",
    )
    assert factory.off(factory.options()) is None


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_creating_an_engine_loads_nothing_native() -> None:
    """Only its worker does."""
    ran = python(
        "import sys, vanta_llamacpp\n"
        "from vanta.engine import EngineContext\n"
        "assert 'numpy' not in sys.modules\n"
        "factory, = vanta_llamacpp.vanta_engines()\n"
        "factory.create(factory.options(), EngineContext('local', 'x', None, None))\n"
        "assert 'llama_cpp' not in sys.modules\n"
    )
    assert ran.returncode == 0, ran.stderr


def test_a_missing_library_says_what_to_install() -> None:
    """As an EngineError, not as an ImportError."""
    ran = python(
        "import sys, anyio, vanta_llamacpp\n"
        "from vanta.engine import EngineContext\n"
        "from vanta.errors import EngineError\n"
        "sys.modules['llama_cpp'] = None\n"
        "factory, = vanta_llamacpp.vanta_engines()\n"
        "engine = factory.create(factory.options(), EngineContext('local', 'x', None, None))\n"
        "try: anyio.run(engine.load)\n"
        "except EngineError as error: print(error.kind, error.suggestion)\n"
    )
    assert "model_not_loaded" in ran.stdout, ran.stderr
    assert install_hint("llamacpp") in ran.stdout


def test_a_forked_process_is_told_and_may_open_its_own(smollm2_path: Path) -> None:
    """The thread stayed with the parent."""
    ran = python(
        "import os, sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.llamacpp.support import answer, engine_on, request\n"
        "from vanta.errors import EngineError\n"
        "engine = engine_on(Path(sys.argv[1]))\n"
        "first = anyio.run(answer, engine, request())\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    try: anyio.run(engine.load)\n"
        "    except EngineError as error: print(error.message, flush=True)\n"
        "    own = engine_on(Path(sys.argv[1]))\n"
        "    same = anyio.run(answer, own, request()).text == first.text\n"
        "    anyio.run(own.aclose)\n"
        "    os._exit(0 if same else 3)\n"
        "_, status = os.waitpid(child, 0)\n"
        "again = anyio.run(answer, engine, request())\n"
        "anyio.run(engine.aclose)\n"
        "sys.exit(os.waitstatus_to_exitcode(status) or again.text != first.text)\n",
        str(smollm2_path),
    )
    assert ran.returncode == 0, ran.stderr
    assert "forked" in ran.stdout


def test_an_engine_that_nobody_closed_does_not_hold_up_the_exit(smollm2_path: Path) -> None:
    """In the middle of an answer."""
    ran = python(
        "import sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.llamacpp.support import engine_on, request\n"
        "engine = engine_on(Path(sys.argv[1]))\n"
        "async def main():\n"
        "    stream = engine.stream(request(max_tokens=900))\n"
        "    await anext(await stream.__aenter__())\n"
        "    raise SystemExit(7)\n"
        "anyio.run(main)\n",
        str(smollm2_path),
    )
    assert ran.returncode == 7, ran.stderr


def test_no_broken_file_ends_the_process(smollm2_path: Path, tmp_path: Path) -> None:
    """Bytes of the real header flipped: each file answers or is refused, by us or llama.cpp."""
    path = tmp_path / "flipped.gguf"
    shutil.copy(smollm2_path, path)
    ran = python(
        "import random, sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.llamacpp.support import answer, engine_on, request\n"
        "from vanta.errors import EngineError\n"
        "path = Path(sys.argv[1])\n"
        "chance = random.Random(11)\n"
        "with path.open('rb') as file: head = file.read(2_000_000)\n"
        "tensors = head.find(b'token_embd.weight')\n"
        "async def tried():\n"
        "    engine = engine_on(path, window=128)\n"
        "    try: await answer(engine, request('Hi', max_tokens=1))\n"
        "    except EngineError: return 'refused'\n"
        "    finally: await engine.aclose()\n"
        "    return 'answered'\n"
        "for number in range(12):\n"
        "    start = (0, 1400, tensors)[number % 3]\n"
        "    at = start + chance.randrange(1200)\n"
        "    with path.open('r+b') as file:\n"
        "        file.seek(at)\n"
        "        file.write(chance.choice((b'\\0', b'\\xff', chance.randbytes(4))))\n"
        "    print(at, anyio.run(tried), flush=True)\n"
        "    with path.open('r+b') as file: file.seek(at); file.write(head[at:at + 4])\n",
        str(path),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "answered" in ran.stdout
    assert "refused" in ran.stdout


def test_what_does_not_fit_into_memory_is_refused_with_the_arithmetic(smollm2_path: Path) -> None:
    """File, a window of KV cache for each who is served, and buffers, against what is free."""
    options = LlamaCppOptions(parallel=8)
    faults = Faults("small")
    facts = facts_of(read_gguf(smollm2_path))
    plan = LoadPlan(ModelFile("small", smollm2_path), facts, options, 8192, faults)
    attention = 64 * 8192 * (9 * (4 + 2) + 4)
    need = facts.size + 8 * 8192 * 23_040 + 512 * 4 * 49_152 + attention
    assert fits(plan, need).fits
    verdict = fits(plan, need - 1)
    assert not verdict.fits
    assert "1,509.9 MB KV cache (65536 tokens x 23040 bytes)" in verdict.arithmetic


async def test_a_model_beyond_all_memory_is_not_loaded(
    make_engine: MakeEngine, tmp_path: Path, smollm2_path: Path
) -> None:
    """The process would be killed: nothing is even opened."""
    path = write_random_model(tmp_path / "wide.gguf", smollm2_path, window=1 << 30)
    error = await failure(make_engine(path=path, window=1 << 30, parallel=64))
    assert error.kind is ErrorKind.MODEL_NOT_LOADED
    assert "does not fit into memory" in str(error)
    assert "64 windows" in str(error)


def test_layers_on_a_gpu_are_those_that_the_library_reports() -> None:
    """As llama.cpp words it (llama-model.cpp); none where it says nothing."""
    lines = [
        (2, "load_tensors: offloading 12 repeating layers to GPU\n"),
        (2, "load_tensors: offloaded 12/31 layers to GPU\n"),
    ]
    assert offloaded_layers(lines) == 12
    assert offloaded_layers(lines[:1]) == 0


def test_amx_is_left_alone_unless_it_is_asked_for() -> None:
    """Builds with it end the process on many machines; weights outside its buffers never meet it.
    Where the build has none, the buffers repack weights for speed, and stay."""
    lib = native.library()
    has_amx = native.built_with_amx(lib)
    assert model_params(lib, LlamaCppOptions()).use_extra_bufts is not has_amx
    assert model_params(lib, LlamaCppOptions(amx=True)).use_extra_bufts
