"""`vanta chat`: a conversation at the terminal.

Invariant: Ctrl-C ends the reply and never the chat, Ctrl-D ends the chat. An error of a turn is
printed and the chat continues. A script that `--save` writes loads, and repeats the messages to the
letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output
from vanta.cli.options import (
    ConfigOption,
    DeadlineOption,
    PolicyOption,
    PrivateOption,
    QuietOption,
    ReasoningOption,
    SessionOption,
    ToolsOption,
    TrackOption,
    UserOption,
    check_choice,
    check_deadline,
    new_session_id,
)
from vanta.cli.setup import named_tools, open_runtime
from vanta.cli.terminal import can_ask
from vanta.files import write_private

if TYPE_CHECKING:
    from vanta.cli.chat.commands import Chat
    from vanta.events import Event
    from vanta.messages import Image, MessageContent
    from vanta.runtime import SyncRuntime, TurnOptions, TurnStream
    from vanta.trace import Reply

app = typer.Typer()

_UNWRITABLE = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


@app.command()
def chat(
    track: TrackOption = None,
    policy: PolicyOption = None,
    session: SessionOption = None,
    user: UserOption = "default",
    private: PrivateOption = None,
    deadline: DeadlineOption = None,
    tools: ToolsOption = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Save the chat as a script.")
    ] = None,
    reasoning: ReasoningOption = False,
    quiet: QuietOption = False,
    config: ConfigOption = None,
) -> None:
    """Talk, and see the reply while it is written.

    /help lists the commands of the chat, Ctrl-C stops a reply, Ctrl-D leaves.
    """
    check_choice(track, policy)
    check_deadline(deadline)
    if quiet:
        output.silence_notes()
    from vanta.cli.chat.commands import Chat
    from vanta.cli.terminal.approval import TerminalApproval

    approval = TerminalApproval() if can_ask() else None
    table, _ = named_tools(config, tools)
    with open_runtime(
        config, approval=approval, policy=policy, deadline_s=deadline, tools=table
    ) as runtime:
        conversation = runtime.runtime.session(
            session or new_session_id(), user=user, private=private
        )
        runtime.portal.call(conversation.refresh)
        chat = Chat(runtime, conversation, policy, approval=approval, reasoning=reasoning)
        if track:
            _pin(chat, track)
        if runtime.runtime.memory:
            runtime.portal.call(runtime.runtime.memory.nudge)  # loads its embedder meanwhile
        _load_engines(runtime, chat.track)
        _greet(chat)
        try:
            _converse(chat)
        finally:
            if save and chat.replies:
                _save(chat, save)


def _pin(chat: Chat, track: str) -> None:
    """Answer with `track` alone.

    :raises UnknownName: if the track is unknown.
    :raises NoTrack: if it is off.
    """
    from vanta.errors import NoTrack

    answer = chat.run(f"/track {track}")
    if chat.track is None:
        raise NoTrack(f"track {track}", {track: answer})


def _converse(chat: Chat) -> None:
    from vanta.cli.chat.commands import COMMANDS
    from vanta.cli.chat.line_editor import LineEditor

    data_dir = chat.runtime.runtime.config.data_dir
    history = None if chat.session.private else data_dir / "chat_history"
    editor = LineEditor(history, [f"/{name}" for name in COMMANDS])
    try:
        while not chat.over:
            _exchange(chat, editor.read)
    except EOFError:
        print()


def _exchange(chat: Chat, read: Callable[[], str]) -> None:
    """Read one message or command, and answer it."""
    from vanta.errors import VantaError

    try:
        message = read()
    except KeyboardInterrupt:
        print()
        output.print_status("Ctrl-D or /exit leaves.")
        return
    try:
        if message.startswith("/") and not message.startswith("//"):
            answer = chat.run(message)
            if answer:
                output.stdout().print(answer, style="dim", markup=False, soft_wrap=True)
            if chat.pending:
                _replace(chat)
            if turn := chat.resuming:
                chat.resuming = ""
                resumed = chat.runtime.runtime.resume_stream
                _watch(chat, lambda: resumed(turn, approvals="wait" if chat.approval else None))
        elif message:
            images, chat.images = tuple(chat.images), []
            text = message.removeprefix("/") if message[:2] == "//" else message
            _reply_to(chat, text, images=images)
    except VantaError as error:
        output.print_error(error)


def _replace(chat: Chat) -> None:
    """Run the turn that a command wants in the place of an earlier one."""
    from vanta.cli.chat.branching import keep_shown
    from vanta.runtime import TurnOptions

    pending, chat.pending = chat.pending, None
    if pending is None:
        return
    try:
        options = TurnOptions(track=pending.track or None, replaces=pending.replaces)
        _reply_to(chat, pending.text, options, images=pending.images)
    finally:
        keep_shown(chat)


def _reply_to(
    chat: Chat,
    message: str,
    options: TurnOptions | None = None,
    *,
    images: Sequence[Image] = (),
) -> None:
    """Run a turn and show it; Ctrl-C stops it. Raises the errors of the turn."""
    choice = {"track": chat.track} if chat.track else {"policy": chat.policy}
    if options and options.track:
        choice = {}
    content: MessageContent = [message, *images] if images else message
    reply = _watch(chat, lambda: chat.session.stream(content, **choice, options=options))
    if reply is not None:
        chat.messages.append(message)
        chat.replies.append(reply)


def _watch(
    chat: Chat, begin: Callable[[], AbstractAsyncContextManager[TurnStream]]
) -> Reply | None:
    """Show a turn while it runs; None if Ctrl-C stopped it. Raises the errors of the turn."""
    from vanta.cli.chat.screen import Screen
    from vanta.cli.terminal.approval import Question
    from vanta.cli.turns import Interruptible
    from vanta.events import TurnFinished

    approval = chat.approval
    replies: list[Reply] = []
    questions: list[Question] = []

    async def turn(report: Callable[[Event | Question], None]) -> None:
        with approval.through(report) if approval else nullcontext():
            async with begin() as events:
                async for event in events:
                    report(event)

    with Screen(reasoning=chat.reasoning) as screen:

        def show(event: Event | Question) -> None:
            if isinstance(event, Question):
                screen.pause()
                questions.append(event)
                if approval:
                    approval.answer(event, chat.runtime.portal)
                questions.clear()
                return
            screen.show(event)
            if isinstance(event, TurnFinished):
                replies.append(event.reply)

        watched: Interruptible[Event | Question] = Interruptible(chat.runtime.portal)
        try:
            if not watched.watch(turn, show):
                screen.interrupted()
        except KeyboardInterrupt:
            if not questions:  # the person gave up a turn that does not stop
                raise
            screen.interrupted()
    return replies[0] if replies else None


def _load_engines(runtime: SyncRuntime, only: str | None) -> None:
    """Load the models of the tracks, with a spinner; Ctrl-C leaves the chat.

    An engine that cannot be loaded is reported, and is fatal only if no other track is left.

    :param only: load only the engine of this track.
    :raises EngineError: if no engine could be loaded.
    """
    from vanta.errors import EngineError

    names = [only] if only else list(runtime.runtime.tracks)
    failures: list[EngineError] = []
    for name in names:
        try:
            _load_engine(runtime, name)
        except EngineError as error:
            failures.append(error)
    if failures and len(failures) == len(names):
        raise failures[0]
    for failure in failures:
        output.print_error(failure)


def _load_engine(runtime: SyncRuntime, name: str) -> None:
    from rich.status import Status
    from rich.text import Text

    from vanta.cli.turns import Interruptible

    engine = runtime.runtime.tracks[name].engine

    async def work(_report: Callable[[None], None]) -> None:
        await runtime.runtime.warm_up(name)

    if engine.capabilities.load:
        watched: Interruptible[None] = Interruptible(runtime.portal)
        loading = Text(f"loading {engine.model}", "dim")
        with Status(loading, console=output.stderr()):
            finished = watched.watch(work, lambda _: None)
        if not finished:
            raise KeyboardInterrupt


def _greet(chat: Chat) -> None:
    from vanta.cli.chat.commands import policy_of

    runtime = chat.runtime.runtime
    tracks = [f"{name} ({track.engine.model})" for name, track in runtime.tracks.items()]
    count = len(chat.runtime.portal.call(chat.session.history))
    continued = f", continued after {count} messages" if count else ""
    answering = f"track {chat.track}" if chat.track else f"policy {policy_of(chat)}"
    output.print_status(
        f"session {chat.session.id}{continued} · {answering} · {', '.join(tracks) or 'no track'}"
    )
    output.print_status("/help for commands, Ctrl-C stops a reply, Ctrl-D leaves")


def _save(chat: Chat, path: Path) -> None:
    turns = list(zip(chat.messages, chat.replies, strict=True))
    text = conversation_script(path.name.partition(".")[0], turns, private=chat.session.private)
    output.write_file(path, lambda file: write_private(file, text))
    output.print_status(f"saved as {path}: add your expectations, then `vanta run {path}`")


def conversation_script(
    name: str, turns: Sequence[tuple[str, Reply]], *, private: bool = False
) -> str:
    """Return a conversation as a script in YAML.

    Each turn expects the track that answered and at most twice as many tokens. The reply's text is
    a comment, from which a person picks the words that a reply must have.

    :param turns: each message with its reply.
    """
    lines = [f"name: {json.dumps(name, ensure_ascii=False)}"]
    lines += ["private: true"] if private else []
    lines += ["turns:"]
    for message, reply in turns:
        lines.append(f"  - say: {_yaml_scalar(message)}")
        lines += [f"    # {line}" for line in _comment_lines(reply.text)]
        lines += ["    expect:", f"      track: {json.dumps(reply.track)}"]
        if reply.usage:
            lines.append(f"      max_tokens: {2 * max(1, reply.usage.output_tokens)}")
    return "\n".join(lines) + "\n"


def _yaml_scalar(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNWRITABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _comment_lines(text: str) -> list[str]:
    return [re.sub("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]", "?", line) for line in text.splitlines()]
