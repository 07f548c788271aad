"""Several models and room for some: who uses none makes room, who uses one stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.llamacpp.random_bert import write_random_bert
from tests.llamacpp.support import MakeEngine, answer, request
from vanta.engine import ModelFile
from vanta.errors import EngineError, ErrorKind
from vanta.models import attention_bytes, read_gguf
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.errors import Faults
from vanta_llamacpp.model.header_checks import facts_of
from vanta_llamacpp.model.model import LoadPlan, fits, layers_on_gpu
from vanta_llamacpp.model.model_memory import LoadedModel, ModelMemory, NotEnoughMemoryError
from vanta_llamacpp.options import LlamaCppOptions

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]


async def room_for_one(tiny: MakeEngine) -> int:
    """Bytes that one tiny model takes, and a little."""
    engine = tiny()
    await engine.load()
    taken = int(engine.stats()["memory_bytes"])
    await engine.aclose()
    return taken + taken // 2


async def test_two_models_and_room_for_one_take_turns(tiny: MakeEngine) -> None:
    """Each is loaded when it is asked, and answers as ever."""
    room = await room_for_one(tiny)
    one, other = (tiny(memory_bytes=room) for _ in range(2))
    expected = (await answer(one, request())).text
    for engine in (other, one, other, one):
        assert (await answer(engine, request())).text == expected
        assert [each.stats()["loaded"] for each in (one, other)] == [engine is one, engine is other]
    assert (one.stats()["loads"], one.stats()["unloads"]) == (3, 2)
    assert one.stats()["steps"] > one.stats()["requests"] == 3, "a life's figures, not a load's"


async def test_what_is_in_use_stays_and_the_refusal_shows_the_arithmetic(tiny: MakeEngine) -> None:
    """The answer goes on; afterwards there is room."""
    room = await room_for_one(tiny)
    one, other = (tiny(memory_bytes=room) for _ in range(2))
    async with one.stream(request(max_tokens=900, logit_bias={2: -100.0, 0: -100.0})) as stream:
        await anext(stream)
        with pytest.raises(EngineError, match=r"'small' takes .* MB \(in use\)") as raised:
            await other.load()
        assert "for all models" in str(raised.value)
        assert raised.value.kind is ErrorKind.MODEL_NOT_LOADED
        await anext(stream)
    assert (await answer(other, request())).text
    assert not one.stats()["loaded"]


async def test_a_pinned_model_stays_though_nobody_uses_it(tiny: MakeEngine) -> None:
    """Whoever is second finds no room."""
    room = await room_for_one(tiny)
    pinned, other = tiny(memory_bytes=room, pinned=True), tiny(memory_bytes=room)
    await pinned.load()
    with pytest.raises(EngineError, match=r"\(pinned\)"):
        await other.load()
    assert pinned.stats()["loaded"]
    assert pinned.stats()["pinned"]
    await pinned.aclose()
    await other.load()


async def test_a_model_without_a_kv_cache_takes_room_too(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    """An encoder is its file and its buffers, and refused where these do not fit."""
    path = write_random_bert(tmp_path / "bert.gguf")
    with pytest.raises(
        EngineError, match=r"MB file \+ [\d.]+ MB buffers = .*for all models"
    ) as raised:
        await make_engine(path=path, window=None, memory_bytes=1).load()
    assert raised.value.kind is ErrorKind.MODEL_NOT_LOADED
    engine = make_engine(path=path, window=None)
    await engine.load()
    assert engine.stats()["memory_bytes"] > path.stat().st_size


def plan(path: Path, window: int = 8192, **options: Any) -> LoadPlan:
    """A model that is to be loaded."""
    facts = facts_of(read_gguf(path))
    chosen = LlamaCppOptions(**{"parallel": 1} | options)
    return LoadPlan(ModelFile("small", path), facts, chosen, window, Faults("small"))


@pytest.mark.parametrize(
    ("asked", "offloads", "expected"),
    [(None, False, 0), (None, True, 30), (0, True, 0), (10, True, 10), (31, True, 30)],
)
def test_the_layers_that_leave_the_ram(
    smollm2_path: Path, asked: int | None, offloads: bool, expected: int
) -> None:
    """All that a GPU is given; none without one, whatever is asked for."""
    assert layers_on_gpu(plan(smollm2_path, gpu_layers=asked), offloads=offloads) == expected


def test_attention_without_flash_attention_is_a_buffer(smollm2_path: Path) -> None:
    """As many tokens as a step has, upon a window, for each of the 9 heads."""
    without, plain = (
        fits(plan(smollm2_path, prefill_chunk=512, flash_attention=flash), None).need_bytes
        for flash in (True, False)
    )
    assert without is not None
    assert plain == without + attention_bytes(512, 8192, 9)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_full_window_takes_what_was_reckoned(smollm2_path: Path) -> None:
    """Never more, and not much less: steps of 1,024 tokens upon a window of 2,048."""
    program = (
        "import sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.llamacpp.support import answer, engine_on, request\n"
        "from vanta_llamacpp.model import native\n"
        "def peak():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(each.split()[1]) * 1024 for each in lines if 'VmHWM' in each)\n"
        "native.library()\n"
        "path, options = Path(sys.argv[1]), {'flash_attention': False, 'prefill_chunk': 1024}\n"
        "engine, before = engine_on(path, window=2048, parallel=1, **options), peak()\n"
        "anyio.run(answer, engine, request(' dragon' * 1980, max_tokens=2))\n"
        "assert engine.stats()['input_tokens'] > 1980\n"
        "print(engine.stats()['memory_bytes'], peak() - before)\n"
        "anyio.run(engine.aclose)\n"
    )
    command = [sys.executable, "-c", program, str(smollm2_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    reckoned, taken = map(int, ran.stdout.split())
    assert reckoned - 100_000_000 < taken <= reckoned


async def test_many_ask_for_two_models_at_once(tiny: MakeEngine) -> None:
    """Each gets its answer or is told that there is no room; nothing hangs, nothing is mixed up."""
    room = await room_for_one(tiny)
    engines = [tiny(memory_bytes=room) for _ in range(2)]
    expected = (await answer(engines[0], request(max_tokens=4))).text
    told: list[str | ErrorKind] = []

    async def ask(engine: LlamaCppEngine) -> None:
        for _ in range(10):
            try:
                told.append((await answer(engine, request(max_tokens=4))).text)
            except EngineError as error:
                told.append(error.kind)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(ask, engines[number % 2])
    assert len(told) == 60
    assert {expected} <= set(told) <= {expected, ErrorKind.MODEL_NOT_LOADED}


def settled(home: ModelMemory, *, pinned: bool = False) -> LoadedModel:
    """A tenant with 10 bytes that leaves when asked."""

    def leave() -> bool:
        if not home.detach_if_idle(tenant, lambda: None):
            return False
        home.release(tenant)
        return True

    tenant = LoadedModel("model", leave, pinned)
    with home.using(tenant), home.reserve(tenant, 10, None, lambda: True):
        pass
    return tenant


def test_the_least_recently_used_leaves_first() -> None:
    """One after another, until there is room."""
    home = ModelMemory(free=lambda: None)
    first, second, third = (settled(home) for _ in range(3))
    with home.using(first):
        pass
    with home.reserve(LoadedModel("new", lambda: False), 10, 30, lambda: True):
        assert [each.bytes for each in (first, second, third)] == [10, 0, 10]
    with home.reserve(LoadedModel("newer", lambda: False), 10, 30, lambda: True):
        assert [each.bytes for each in (first, second, third)] == [10, 0, 0]


def test_what_the_system_has_free_is_a_bound_too() -> None:
    """Looked at again after each that left."""
    free = [5, 25]
    home = ModelMemory(free=lambda: free.pop(0) if len(free) > 1 else free[0])
    free.insert(0, 100)
    tenant = settled(home)
    with home.reserve(LoadedModel("new", lambda: False), 20, None, lambda: True):
        assert tenant.bytes == 0
    with (
        pytest.raises(NotEnoughMemoryError, match=r"needed of .* free"),
        home.reserve(LoadedModel("big", lambda: False), 26, None, lambda: True),
    ):
        pass


def test_files_of_loaded_models_are_not_free_though_the_system_says_so() -> None:
    """It would drop them to make room, and every token would read them from the disk again."""
    home = ModelMemory(free=lambda: 15, mapped=lambda: 8)
    tenant = settled(home)
    with (
        home.using(tenant),
        pytest.raises(
            NotEnoughMemoryError,
            match=r"needed of .* free - .* of loaded models' files; 'model' takes",
        ),
        home.reserve(LoadedModel("new", lambda: False), 8, None, lambda: True),
    ):
        pass
    small = LoadedModel("small", lambda: False)
    with home.using(tenant), home.reserve(small, 7, None, lambda: True):
        assert tenant.bytes == 10
    home.release(small)
    with home.reserve(LoadedModel("new", lambda: False), 15, None, lambda: True):
        assert tenant.bytes == 0, "it made room"


def test_memory_mapped_before_any_load_does_not_count_as_a_models() -> None:
    """Libraries and data lie there before any model is loaded."""
    home = ModelMemory(free=lambda: 15, mapped=lambda: 1000)
    model = LoadedModel("new", lambda: False)
    with home.reserve(model, 15, None, lambda: True):
        pass
    assert model.bytes == 15


def test_a_load_that_fails_takes_no_room() -> None:
    """And lets the next one load."""
    home = ModelMemory(free=lambda: None)
    tenant = LoadedModel("model", lambda: False)
    with pytest.raises(ValueError, match="broken"), home.reserve(tenant, 10, 10, lambda: True):
        raise ValueError("broken")
    assert settled(home).bytes == 10


def test_who_is_closed_does_not_wait_for_others_to_load() -> None:
    """It gives up."""
    home = ModelMemory(free=lambda: None)
    first, second = LoadedModel("model", lambda: False), LoadedModel("closed", lambda: False)
    with (
        home.reserve(first, 1, None, lambda: True),
        pytest.raises(NotEnoughMemoryError, match="closed"),
        home.reserve(second, 1, None, lambda: False),
    ):
        pass


def test_a_forked_process_starts_with_an_empty_register(random_path: Path) -> None:
    """Its parent's models cannot be asked to leave: their threads stayed behind."""
    program = (
        "import os, sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.llamacpp.support import answer, engine_on, request\n"
        "path = Path(sys.argv[1])\n"
        "engine = engine_on(path, threads=1)\n"
        "first = anyio.run(answer, engine, request())\n"
        "room = engine.stats()['memory_bytes'] + 1000\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    own = engine_on(path, threads=1, memory_bytes=room)\n"
        "    same = anyio.run(answer, own, request()).text == first.text\n"
        "    anyio.run(own.aclose)\n"
        "    os._exit(0 if same else 3)\n"
        "_, status = os.waitpid(child, 0)\n"
        "anyio.run(engine.aclose)\n"
        "sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    command = [sys.executable, "-c", program, str(random_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
