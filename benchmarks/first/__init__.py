"""The first five minutes with the embedded model: simple questions, and what it remembers.

A question is asked as `vanta ask` does it: in a session of its own, with the configuration that
ships (the local track alone), in five rounds in one user's store, once with memory off and once on.
An answer is right if it has an accepted word. The questions about the user are asked among 200
memories.

The peers show what the model itself can do: with the sampling that its makers recommend, without
vanta's system prompt; and with the one memory that has the answer. The templates were chosen on
every other question; the notes have the figures of the questions that were held out. The goal of
90 % is beyond this model of 135 million parameters: on thirty of the simple questions, with memory
off, the best of the prompts that were tried gave about 70 %. Invariant: no question is left out,
and a turn without an answer counts as wrong, as does an answer that recites its prompt.
"""

from __future__ import annotations

import statistics
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

import vanta
from vanta import GenerationRequest, Message, Opening, Reply, Runtime, Sampling, VantaError
from vanta.memory import NewItem, Scope
from vanta.models import ModelStore, default_root

from ..report import Figure, Settings
from .questions import (
    ABOUT_THE_USER,
    CHOSEN_ON,
    HELD_OUT,
    KNOWLEDGE,
    MEMORIES,
    SimpleQuestion,
    memories,
)

SUMMARY = "the first five minutes: simple questions with memory off and on, and recall"

MODEL = "smollm2-135m-instruct"
ROUNDS = 5
SIMPLE_GOAL, RECALL_GOAL = 90.0, 80.0
_TOKENS = 96
_AT_ONCE = 4
_USER = "ada"
_CHANCE = 1.645
"""Standard errors of a difference that chance exceeds in one case of twenty."""


@dataclass(slots=True)
class Answers:
    """The answers to some questions: how many were right in each round, and what was shown."""

    right: dict[str, list[bool]] = field(default_factory=dict)
    notes: int = 0
    echoes: int = 0

    def add(self, question: SimpleQuestion, reply: Reply | None, own: frozenset[int]) -> None:
        """Add an answer. own: the ids of earlier replies to the same question."""
        text = reply.text if reply else ""
        self.right.setdefault(question.text, []).append(question.is_right(text))
        shown = reply.trace.context["local"].memories if reply else ()
        self.notes += len(shown)
        self.echoes += sum(memory.id in own for memory in shown)

    @property
    def share(self) -> float:
        """The right answers in percent."""
        return 100 * statistics.fmean(right for rounds in self.right.values() for right in rounds)

    @property
    def halves(self) -> str:
        """The right answers of the questions that templates were chosen on, and of the others."""
        shares = []
        for half in (CHOSEN_ON, HELD_OUT):
            rounds = [right for text, right in self.right.items() if text in half]
            value = 100 * statistics.fmean(one for answers in rounds for one in answers)
            shares.append(f"{value:.1f}")
        return f"{shares[0]} % of those that templates were chosen on, {shares[1]} % of the others"

    @property
    def count(self) -> int:
        """The number of answers."""
        return sum(map(len, self.right.values()))

    def by_round(self) -> str:
        """Return the number of right answers in each round."""
        return ", ".join(str(sum(answers)) for answers in zip(*self.right.values(), strict=True))


def run(settings: Settings) -> Iterator[Figure]:
    """Ask simple questions, then questions about the user."""
    ModelStore(default_root()).find(MODEL)
    yield from anyio.run(_simple, settings)
    yield from anyio.run(_recalls, settings)


async def _simple(settings: Settings) -> list[Figure]:
    questions = KNOWLEDGE[::15] if settings.quick else KNOWLEDGE
    rounds = settings.times(ROUNDS, 2)
    results: dict[bool, Answers] = {}
    alone: Answers | None = None
    for memory in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            async with open_as_shipped(Path(folder), memory=memory) as runtime:
                alone = alone or await _alone(runtime, questions, rounds)
                answers = results[memory] = Answers()
                step = f"simple questions, memory {'on' if memory else 'off'}"
                for number in range(rounds):
                    settings.progress(step, number, rounds)
                    await ask_all(runtime, questions, answers)
    assert alone is not None
    return list(_simple_figures(results[False], results[True], alone))


async def _recalls(settings: Settings) -> list[Figure]:
    questions = ABOUT_THE_USER[::9] if settings.quick else ABOUT_THE_USER
    among, single = Answers(), Answers()
    with tempfile.TemporaryDirectory() as folder:
        async with open_as_shipped(Path(folder), memory=True) as runtime:
            settings.progress("the one memory that has the answer", 0, 2)
            for number, question in enumerate(questions):
                user = f"user {number}"
                await remember(runtime, user, [("user", question.fact)])
                single.add(question, await _ask(runtime, question, user), frozenset())
            settings.progress(f"among {MEMORIES} memories", 1, 2)
            await remember(runtime, _USER, memories())
            for question in questions:
                among.add(question, await _ask(runtime, question, _USER), frozenset())
    return [_recall_figure(among, single)]


def open_as_shipped(folder: Path, *, memory: bool) -> Opening:
    """Open a runtime with the configuration that ships, without the api track.

    :param folder: its data; the models are those of the user.
    :param memory: whether memory is on.
    """
    (folder / "models").symlink_to(default_root().absolute(), target_is_directory=True)
    return vanta.open(
        "default",
        data_dir=folder,
        policy="local",
        tracks={"api": {"enabled": False}},
        memory={"enabled": memory},
    )


async def remember(runtime: Runtime, user: str, messages: Sequence[tuple[str, str]]) -> None:
    """Store messages as memories of a user, ten to a session, and wait for their vectors."""
    assert runtime.memory is not None
    began = 1_760_000_000.0
    items = [
        NewItem(user, "message", text, began + 600 * n, session=f"earlier {n // 10}", role=role)
        for n, (role, text) in enumerate(messages)
    ]
    await runtime.memory.add(items)
    await runtime.memory.ready(Scope(user, private=True))


async def ask_all(runtime: Runtime, questions: Sequence[SimpleQuestion], answers: Answers) -> None:
    """Ask each question once, a few at a time, and add the answers."""
    own = {question.text: await _own_replies(runtime, question.text) for question in questions}
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(question: SimpleQuestion) -> None:
        async with limit:
            answers.add(question, await _ask(runtime, question, _USER), own[question.text])

    async with anyio.create_task_group() as tasks:
        for question in questions:
            tasks.start_soon(ask, question)


async def _ask(runtime: Runtime, question: SimpleQuestion, user: str) -> Reply | None:
    """Ask in a new session; None if there is no answer."""
    try:
        session = runtime.session(uuid.uuid4().hex, user=user)
        return await session.ask(question.text, sampling=Sampling(max_tokens=_TOKENS))
    except VantaError:
        return None


async def _own_replies(runtime: Runtime, text: str) -> frozenset[int]:
    """Return the ids of the memories that are replies to a question."""
    if runtime.memory is None:
        return frozenset()
    items = [item async for item in runtime.memory.export(_USER)]
    turns = {item.turn_id for item in items if item.text == text}
    return frozenset(
        item.id for item in items if item.turn_id in turns and item.role == "assistant"
    )


async def _alone(runtime: Runtime, questions: Sequence[SimpleQuestion], rounds: int) -> Answers:
    """Ask the bare model, without a system prompt, as its makers recommend to sample it."""
    answers = Answers()
    engine = runtime.tracks["local"].engine
    recommended = ModelStore(default_root()).recommended_sampling(MODEL)
    sampling = recommended.under(Sampling(max_tokens=_TOKENS))
    for question in questions:
        request = GenerationRequest((Message("user", question.text),), sampling)
        completions = await engine.answers(request, rounds)
        answers.right[question.text] = [question.is_right(item.text) for item in completions]
    return answers


def _simple_figures(off: Answers, on: Answers, alone: Answers) -> Iterator[Figure]:
    for name, answers in (("off", off), ("on", on)):
        yield Figure(
            name=f"simple questions right, memory {name}",
            value=answers.share,
            unit="%",
            better="higher",
            goal=SIMPLE_GOAL,
            peer="the model alone, sampled as its makers recommend",
            peer_value=alone.share,
            note=f"{answers.count} answers, right in each round: {answers.by_round()}; "
            f"{answers.halves}; {answers.notes} memories shown",
        )
    losses = [
        100 * (statistics.fmean(off.right[text]) - statistics.fmean(on.right[text]))
        for text in off.right
    ]
    yield Figure(
        name="right answers lost by memory",
        value=statistics.fmean(losses),
        unit="points",
        goal=_CHANCE * statistics.stdev(losses) / len(losses) ** 0.5,
        note="the goal is what chance exceeds in one case of twenty, question by question",
    )
    yield Figure(
        name="earlier replies shown to the question that they answered",
        value=float(on.echoes),
        unit="notes",
        goal=0.0,
        note=f"in {on.count} turns, with memory on",
    )


def _recall_figure(among: Answers, single: Answers) -> Figure:
    return Figure(
        name=f"questions about the user right among {MEMORIES} memories",
        value=among.share,
        unit="%",
        better="higher",
        goal=min(RECALL_GOAL, single.share),
        peer="the same with the one memory that has the answer",
        peer_value=single.share,
        note=f"{among.count} questions, {among.notes / among.count:.1f} memories shown to each; "
        f"{among.halves}; the goal is {RECALL_GOAL:g} %, or what the peer reaches",
    )
