"""`vanta chat`: a conversation at the terminal.

Invariant: Ctrl-C ends the reply and never the chat, Ctrl-D ends the chat; whatever a turn raises
is said and the chat goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output
from vanta.cli.turn_options import (
    DeadlineOption,
    PolicyOption,
    PrivateOption,
    SessionOption,
    TrackOption,
    UserOption,
    check_choice,
    check_deadline,
    fresh_session,
)

if TYPE_CHECKING:
    from vanta.cli.chat.commands import Talk
    from vanta.events import Event
    from vanta.runtime import SyncRuntime

app = typer.Typer()


@app.command()
def chat(
    track: TrackOption = None,
    policy: PolicyOption = None,
    session: SessionOption = None,
    user: UserOption = "default",
    private: PrivateOption = False,
    deadline: DeadlineOption = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Keep it as a script.")
    ] = None,
    config: output.ConfigOption = None,
) -> None:
    """Talk, with the reply as it is written.

    /help lists the commands of the chat, Ctrl-C stops a reply, Ctrl-D leaves.
    """
    check_choice(track, policy)
    check_deadline(deadline)
    from vanta.cli.chat.commands import Talk

    with output.open_runtime(config, policy=policy, deadline_s=deadline) as runtime:
        conversation = runtime.runtime.session(
            session or fresh_session(), user=user, private=private
        )
        talk = Talk(runtime, conversation, policy)
        if track:
            _pin(talk, track)
        if runtime.runtime.memory:
            runtime.portal.call(runtime.runtime.memory.nudge)  # loads its embedder meanwhile
        load(runtime, talk.track)
        _greet(talk)
        try:
            _converse(talk)
        finally:
            if save and talk.replies:
                _save(talk, save)


def _save(talk: Talk, path: Path) -> None:
    """Keep the conversation as a script."""
    from vanta.cli.chat.saved_script import script_of

    turns = list(zip(talk.said, talk.replies, strict=True))
    text = script_of(path.name.partition(".")[0], turns, private=talk.session.private)
    output.writing(path, lambda file: file.write_text(text, encoding="utf-8"))
    output.say(f"kept as {path}: add what has to hold, then `vanta run {path}`")


def _pin(talk: Talk, track: str) -> None:
    """Answer with `track` alone. Raises UnknownName, or NoTrack for one that is off."""
    from vanta.errors import NoTrack

    said = talk.obey(f"/track {track}")
    if talk.track is None:
        raise NoTrack(f"track {track}", {track: said})


def _converse(talk: Talk) -> None:
    from vanta.cli.chat.commands import COMMANDS
    from vanta.cli.chat.line_editor import Prompt

    data_dir = talk.runtime.runtime.config.data_dir
    history = None if talk.session.private else data_dir / "chat_history"
    prompt = Prompt(history, [f"/{name}" for name in COMMANDS])
    try:
        while not talk.over:
            _exchange(talk, prompt.read)
    except EOFError:
        print()


def _exchange(talk: Talk, read: Callable[[], str]) -> None:
    """One message and what comes of it."""
    from vanta.errors import VantaError

    try:
        message = read()
    except KeyboardInterrupt:
        print()
        output.say("Ctrl-D or /exit leaves.")
        return
    try:
        if message.startswith("/") and not message.startswith("//"):
            answer = talk.obey(message)
            if answer:
                output.stdout().print(answer, style="dim", markup=False, soft_wrap=True)
        elif message:
            reply_to(talk, message.removeprefix("/") if message[:2] == "//" else message)
    except VantaError as error:
        output.print_error(error)


def reply_to(talk: Talk, message: str) -> None:
    """Say `message` and show the turn; Ctrl-C stops it. Raises what the turn raises."""
    from vanta.cli.chat.screen import Screen
    from vanta.cli.interruptible import Interruptible
    from vanta.events import TurnFinished

    choice = {"track": talk.track} if talk.track else {"policy": talk.policy}

    async def turn(tell: Callable[[Event], None]) -> None:
        async with talk.session.stream(message, **choice) as events:
            async for event in events:
                tell(event)

    with Screen() as screen:

        def show(event: Event) -> None:
            screen.show(event)
            if isinstance(event, TurnFinished):
                talk.said.append(message)
                talk.replies.append(event.reply)

        watched: Interruptible[Event] = Interruptible(talk.runtime.portal)
        if not watched.watch(turn, show):
            screen.interrupted()


def load(runtime: SyncRuntime, only: str | None) -> None:
    """Load the engines that have something to load, with a sign of life; Ctrl-C leaves the chat.

    An engine that cannot be loaded is said, and not fatal as long as another track may answer;
    raises its EngineError where none is left.
    """
    from vanta.errors import EngineError

    names = [only] if only else list(runtime.runtime.tracks)
    failures: list[EngineError] = []
    for name in names:
        try:
            _load_one(runtime, name)
        except EngineError as error:
            failures.append(error)
    if failures and len(failures) == len(names):
        raise failures[0]
    for failure in failures:
        output.print_error(failure)


def _load_one(runtime: SyncRuntime, name: str) -> None:
    from rich.status import Status

    from vanta.cli.interruptible import Interruptible

    engine = runtime.runtime.tracks[name].engine

    async def work(_tell: Callable[[None], None]) -> None:
        await runtime.runtime.warm_up(name)

    if engine.capabilities.load:
        watched: Interruptible[None] = Interruptible(runtime.portal)
        with Status(f"[dim]loading {engine.model}", console=output.stderr()):
            finished = watched.watch(work, lambda _: None)
        if not finished:
            raise KeyboardInterrupt


def _greet(talk: Talk) -> None:
    from vanta.cli.chat.commands import policy_of

    runtime = talk.runtime.runtime
    tracks = [f"{name} ({track.engine.model})" for name, track in runtime.tracks.items()]
    known = len(talk.runtime.portal.call(talk.session.history))
    going_on = f", going on after {known} messages" if known else ""
    who = f"track {talk.track}" if talk.track else f"policy {policy_of(talk)}"
    output.say(f"session {talk.session.id}{going_on} · {who} · {', '.join(tracks) or 'no track'}")
    output.say("/help for commands, Ctrl-C stops a reply, Ctrl-D leaves")
