"""`vanta sessions`: list, show, rename, search, export and delete conversations.

Invariant: the store is opened without engines and tools, and only `rename`, `switch` and `delete`
write to it. Private sessions are shown, since all of it stays on this machine.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption, UserOption
from vanta.cli.setup import load_setup
from vanta.errors import UnknownName, UsageError
from vanta.files import write_private
from vanta.text import decoded

if TYPE_CHECKING:
    from vanta.messages import Exchange
    from vanta.storage import Branch, SessionInfo, Store

app = typer.Typer(
    help="List, show, rename, search, export and delete conversations.", no_args_is_help=True
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The conversation.", parser=decoded)
]
AnyUserOption = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="NAME", help="Only those of this user.", parser=decoded),
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="The latest N.")]
T = TypeVar("T")


@app.command("list")
def list_sessions(
    user: AnyUserOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List conversations, the latest first.

    --json: a list of objects with id, user, title, renamed, private, started_at and last_at
    (seconds since 1970), turns, cost_usd and match.
    """
    _print_list(_found(config, user, (), limit), json=json, empty="There is no conversation yet.")


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", parser=decoded)],
    user: AnyUserOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find conversations in which one message, or the title, has all words.

    All branches are searched, in whatever case. --json: a list of objects as in `list`.
    """
    sought = tuple(word for text in words for word in text.split())
    if not sought:
        raise UsageError("there are no words to search for: vanta sessions search holiday")
    _print_list(_found(config, user, sought, limit), json=json, empty="No conversation has them.")


@app.command()
def show(
    name: NameArgument,
    branch: Annotated[
        str, typer.Option("--branch", "-b", metavar="NAME", help="Instead of the one in use.")
    ] = "",
    ids: Annotated[bool, typer.Option("--ids", help="Print the id of every turn.")] = False,
    user: UserOption = "default",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the messages of a conversation, and its branches.

    --json: an object as in `list`, with branch (the one shown), branches (name, kind, parent,
    after, replaces, turns, own_turns, active, replaced) and messages (turn, private, role,
    content).
    """

    async def read(store: Store) -> tuple[SessionInfo, list[Branch], str, list[Exchange]]:
        info = await _require(store, user, name)
        branches = await store.branches(user, name)
        return info, branches, *await store.branch_history(user, name, branch)

    info, branches, shown, exchanges = _with_store(config, read)
    if json:
        data = info.to_dict() | {
            "branch": shown,
            "branches": [dataclasses.asdict(item) for item in branches],
            "messages": _messages(exchanges),
        }
        output.print_json(data)
        return
    _print_session(info, branches, shown, exchanges, ids=ids)


@app.command()
def rename(
    name: NameArgument,
    title: Annotated[str, typer.Argument(metavar="TITLE", help='"" for none.', parser=decoded)],
    user: UserOption = "default",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Give a conversation a title. --json: an object as in `list`."""

    async def write(store: Store) -> SessionInfo:
        await _require(store, user, name)
        await store.rename_session(user, name, title)
        return await _require(store, user, name)

    info = _with_store(config, write)
    if json:
        output.print_json(info.to_dict())
    else:
        output.print_line(f"{info.id}: {info.title}")


@app.command()
def switch(
    name: NameArgument,
    branch: Annotated[str, typer.Argument(metavar="BRANCH", parser=decoded)],
    user: UserOption = "default",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have the next message of a conversation continue another branch.

    --json: an object with the fields of a branch as in `show`.
    """

    async def write(store: Store) -> Branch:
        await _require(store, user, name)
        await store.use_branch(user, name, branch)
        return next(item for item in await store.branches(user, name) if item.active)

    chosen = _with_store(config, write)
    if json:
        output.print_json(dataclasses.asdict(chosen))
    else:
        output.print_line(f"{name} continues branch {chosen.name} ({len(chosen.turns)} turns)")


@app.command()
def export(
    name: NameArgument,
    form: Annotated[
        Literal["jsonl", "markdown"], typer.Option("--format", "-f", help="To process, or to read.")
    ] = "jsonl",
    calls: Annotated[bool, typer.Option("--calls", help="With tool calls and results.")] = False,
    traces: Annotated[bool, typer.Option("--traces", help="With the record of turns.")] = False,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")
    ] = None,
    user: UserOption = "default",
    config: ConfigOption = None,
) -> None:
    """Write a whole conversation, with all its branches.

    jsonl has one object a line; its type is session, branch, message, call or turn.
    """
    from vanta.runtime.exporting import SessionExport

    async def read(store: Store) -> str:
        info = await _require(store, user, name)
        return await SessionExport(store, info, calls=calls, traces=traces).text(form)

    text = _with_store(config, read)
    if file is None:
        output.stdout().out(text, end="", highlight=False)
        return
    output.write_file(file, lambda path: write_private(path, text))
    output.print_status(f"saved as {file}")


@app.command()
def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    user: UserOption = "default",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete a conversation, with its branches and what memory took from it.

    --json: an object with id, user, messages and typed_lines (removed from the chat's history).
    """
    from vanta.cli.memory.forget import forget_typed_lines

    info = _with_store(config, lambda store: _require(store, user, name))
    if not yes and not _confirm(info):
        return

    async def remove(store: Store) -> tuple[int, list[str]]:
        typed = [
            message.content
            for branch in await store.branches(user, name)
            for exchange in (await store.branch_history(user, name, branch.name))[1]
            for message in exchange.messages
            if message.role == "user"
        ]
        count = await store.delete_session(user, name)
        if store.is_sqlite:
            await store.rewrite()
        return count, typed

    count, typed = _with_store(config, remove)
    history = load_setup(config).config.data_dir / "chat_history"
    lines = forget_typed_lines(history, typed)
    if json:
        output.print_json({"id": name, "user": user, "messages": count, "typed_lines": lines})
    else:
        output.print_line(f"deleted: {name}, {count} messages")


def _with_store(source: str | None, use: Callable[[Store], Awaitable[T]]) -> T:
    import anyio

    from vanta.runtime import open_store

    store, _ledger = open_store(load_setup(source).config)

    async def run() -> T:
        try:
            return await use(store)
        finally:
            await store.aclose()

    return anyio.run(run)


def _found(
    source: str | None, user: str | None, words: tuple[str, ...], limit: int
) -> list[SessionInfo]:
    from vanta.storage import SessionQuery

    query = SessionQuery(user, words=words, limit=limit, private=True)
    return _with_store(source, lambda store: store.sessions(query))


async def _require(store: Store, user: str, name: str) -> SessionInfo:
    """Return a session. Raises UnknownName."""
    from vanta.storage import SessionQuery

    found = await store.sessions(SessionQuery(user, name, private=True)) if name else []
    if not found:
        known = await store.sessions(SessionQuery(user, limit=50, private=True))
        hint = f"`vanta sessions list` lists them; those of other users than {user!r} need --user."
        raise UnknownName("session", name, [info.id for info in known], hint=hint)
    return found[0]


def _print_list(sessions: list[SessionInfo], *, json: bool, empty: str) -> None:
    from vanta.cli.memory.tables import format_time

    if json:
        output.print_json([info.to_dict() for info in sessions])
        return
    if not sessions:
        output.print_status(empty)
        return
    rows = [
        (
            info.id,
            f"{info.user}{' (private)' * info.private}",
            format_time(info.last_at) if info.last_at else "",
            str(info.turns),
            f"${info.cost_usd:.4f}" if info.cost_usd else "",
            info.match or info.title,
        )
        for info in sessions
    ]
    output.print_table(("session", "user", "last", "turns", "cost", "title"), rows)


def _print_session(
    info: SessionInfo, branches: list[Branch], shown: str, exchanges: list[Exchange], *, ids: bool
) -> None:
    output.print_status(f"{info.title or info.id}{', private' * info.private}", "bold")
    for exchange in exchanges:
        if ids:
            output.print_status(f"turn {exchange.turn}{', private' * exchange.private}")
        for message in exchange.messages:
            for call in message.tool_calls:
                output.print_status(f"calls {call.name} {call.arguments}")
            if text := message.without_images().content:
                output.print_line(f"{message.role}: {text}")
    if len(branches) > 1:
        rows = [
            (
                item.name + " (shown)" * (item.name == shown),
                item.kind,
                str(len(item.turns)),
                item.after[:12],
                item.replaces[:12],
                "in use" if item.active else "replaced" if item.replaced else "",
            )
            for item in branches
        ]
        output.print_table(("branch", "kind", "turns", "after", "replaces", ""), rows)


def _messages(exchanges: list[Exchange]) -> list[dict[str, object]]:
    from vanta.messages import content_data

    return [
        {
            "turn": exchange.turn,
            "private": exchange.private,
            "role": message.role,
            "content": content_data(message),
        }
        for exchange in exchanges
        for message in exchange.messages
    ]


def _confirm(info: SessionInfo) -> bool:
    """Ask on the terminal. Raises UsageError without one."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was deleted: a terminal is needed to confirm it. Add --yes to delete without."
        )
    about = f"{info.id!r} ({info.turns} turns: {info.title})"
    if typer.confirm(f"Delete the conversation {about} for good?", err=True):
        return True
    output.print_status("nothing was deleted")
    return False
