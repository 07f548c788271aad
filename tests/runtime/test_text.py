"""The text to show: right after every event, under each policy's seams."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path

import anyio.lowlevel
import pytest

from tests.runtime.home import open_scripted
from vanta.engine import Capabilities
from vanta.errors import AllTracksFailed, ErrorKind
from vanta.events import Amended, Committed, Takeover
from vanta.runtime import Runtime, ShownText, TurnStream
from vanta.scheduling import BUILTIN, PREFER, Policy
from vanta.testing import Fail, Hang, Say, ScriptedEngine, Wait

pytestmark = pytest.mark.anyio

WHOLE = "One two three four five six seven eight nine ten."
CUT = WHOLE[:19]
RESTART = dataclasses.replace(PREFER, name="restart", takeover="restart")


async def shown_by(turn: TurnStream) -> list[ShownText]:
    return [text async for text in turn.text()]


def on_a_terminal(texts: Iterable[ShownText]) -> list[str]:
    """The lines of a display that can only append: a new one where a text does not continue."""
    lines = [""]
    for text in texts:
        if text.appended is None:
            lines.append(str(text))
        else:
            lines[-1] += text.appended
    return lines


async def ask(
    runtime: Runtime, policy: str | Policy, deadline_s: float = 30
) -> tuple[list[ShownText], str]:
    session = runtime.session("ada")
    async with session.stream("hi", policy=policy, deadline_s=deadline_s) as turn:
        texts = await shown_by(turn)
    return texts, turn.reply.text


@pytest.mark.parametrize("policy", BUILTIN, ids=lambda policy: policy.name)
async def test_the_last_text_is_the_reply_under_every_policy(
    tmp_path: Path, policy: Policy
) -> None:
    local, api = ScriptedEngine(WHOLE), ScriptedEngine(WHOLE)
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        texts, reply = await ask(runtime, policy)
    assert texts[-1] == reply == WHOLE
    assert on_a_terminal(texts) == [WHOLE]
    assert all(later.startswith(text) for text, later in itertools.pairwise(texts))


@pytest.mark.parametrize("prefixes", [True, False])
async def test_a_takeover_that_continues_shows_nothing_twice(
    tmp_path: Path, prefixes: bool
) -> None:
    api = ScriptedEngine(Say(CUT), Fail(ErrorKind.NETWORK))
    local = ScriptedEngine(WHOLE, capabilities=Capabilities(prefix_continuation=prefixes))
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        texts, reply = await ask(runtime, "prefer")
    assert CUT in texts
    assert texts[-1] == reply == WHOLE
    assert on_a_terminal(texts) == [WHOLE]


async def test_a_takeover_that_restarts_clears_the_text_at_once(tmp_path: Path) -> None:
    api = ScriptedEngine(Say(CUT), Fail(ErrorKind.NETWORK))
    local = ScriptedEngine("A new answer.")
    async with open_scripted(tmp_path, local=local, api=api) as runtime:
        texts, reply = await ask(runtime, RESTART)
    cleared = [str(text) for text in texts].index("")
    assert texts[cleared].appended is None
    assert texts[cleared - 1] == CUT
    assert texts[-1] == reply == "A new answer."
    assert on_a_terminal(texts) == [CUT, "A new answer."]


class Late:
    """A gate that opens when the turn has committed."""

    def __init__(self) -> None:
        self.committed = False

    async def wait(self) -> None:
        while not self.committed:
            await anyio.lowlevel.checkpoint()


async def test_an_amendment_replaces_the_text(tmp_path: Path) -> None:
    gate = Late()
    local = ScriptedEngine("It was 1972.")
    api = ScriptedEngine(Wait(gate), "It was 1969.")
    async with (
        open_scripted(tmp_path, local=local, api=api) as runtime,
        runtime.session("ada").stream("When?", policy="refine") as turn,
    ):
        texts: list[ShownText] = []
        async for text in turn.text():
            gate.committed = True
            texts.append(text)
    assert "It was 1972." in texts
    assert (texts[-1], texts[-1].appended) == ("It was 1969.", None)
    assert turn.reply.text == "It was 1969."
    assert on_a_terminal(texts) == ["It was 1972.", "It was 1969."]


async def test_an_answer_that_the_gate_rejects_is_never_shown(tmp_path: Path) -> None:
    local = ScriptedEngine("I'm sorry, I cannot help with that.")
    async with open_scripted(tmp_path, local=local, api=ScriptedEngine(WHOLE)) as runtime:
        texts, reply = await ask(runtime, "cascade")
    assert texts[-1] == reply == WHOLE
    assert not any("sorry" in text for text in texts)


async def test_a_text_that_the_deadline_cuts_stays_as_it_was_shown(tmp_path: Path) -> None:
    async with open_scripted(tmp_path, local=ScriptedEngine(Say(CUT), Hang())) as runtime:
        texts, reply = await ask(runtime, "local", deadline_s=1.5)
    assert texts[-1] == reply == CUT


async def test_a_turn_that_fails_raises_after_the_text_that_it_showed(tmp_path: Path) -> None:
    broken = ScriptedEngine(Say(CUT), Fail(ErrorKind.SERVER))
    texts: list[ShownText] = []

    async def show(turn: TurnStream) -> None:
        async for text in turn.text():
            texts.append(text)  # noqa: PERF401 - a comprehension would lose them

    async with (
        open_scripted(tmp_path, local=broken) as runtime,
        runtime.session("ada").stream("hi", policy="local") as turn,
    ):
        with pytest.raises(AllTracksFailed) as failed:
            await show(turn)
    assert texts[-1] == failed.value.partial == CUT


async def test_leaving_the_loop_early_cancels_the_turn(tmp_path: Path) -> None:
    engine = ScriptedEngine(Say(CUT), Hang())
    async with open_scripted(tmp_path, local=engine) as runtime:
        async with runtime.session("ada").stream("hi", policy="local") as turn:
            async for text in turn.text():
                if text == CUT:
                    break
        assert engine.streaming == 0


def test_events_that_change_no_text_show_nothing_new() -> None:
    shown = ShownText("so far")
    assert shown.after(Committed(at_s=0.0, leg=0, track="a", why="")) is None
    seam = Takeover(
        at_s=0.0, leg=1, track="b", from_leg=0, from_track="a", shown_chars=6, why="cut"
    )
    assert shown.after(seam) is None
    assert shown.after(dataclasses.replace(seam, restarts=True)) == ""
    assert shown.after(Amended(at_s=0.0, leg=1, track="b", text="new", why="")) == "new"


def test_a_synchronous_program_is_shown_the_same_text(tmp_path: Path) -> None:
    api = ScriptedEngine(Say(CUT), Fail(ErrorKind.NETWORK))
    with (
        open_scripted(tmp_path, local=ScriptedEngine("A new answer."), api=api) as runtime,
        runtime.session("ada").stream("hi", policy=RESTART) as turn,
    ):
        texts = list(turn.text())
        assert texts[-1] == turn.reply.text
    assert on_a_terminal(texts) == [CUT, "A new answer."]
