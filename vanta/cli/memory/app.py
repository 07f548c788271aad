"""`vanta memory`: search memory, add to it, export, import and forget.

Invariant: it works without any engine and beside an open runtime. A command that changes memory
prints what it changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.memory import options
from vanta.cli.memory.add import add
from vanta.cli.memory.export_import import export, import_lines
from vanta.cli.memory.forget import forget
from vanta.cli.memory.opening import progress_bar, waiting_for, with_memory
from vanta.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from vanta.memory import Memory, Question, Recollection

app = typer.Typer(help="Search memory, add to it, export, import and forget.", no_args_is_help=True)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What to look for.")],
    user: options.UserOption = "default",
    session: options.SessionOption = None,
    private: options.VisibleOption = True,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    role: options.RoleOption = None,
    kind: options.KindOption = None,
    tag: options.TagOption = None,
    limit: options.LimitOption = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the parts of each score, and their sources.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Search messages and documents by words and by meaning, best first.

    It waits until the embedder is ready, which a turn does not. --json: an object with found
    (objects with score, parts, which add up to it, and item), took_s, embedder, index and skipped.
    """
    from vanta.memory import Question, Scope

    chosen = options.filters(since, until, role, kind, tag)
    question = Question(" ".join(words), Scope(user, session, private), chosen, limit=limit)
    result = with_memory(config, lambda memory: _recall_when_ready(memory, question, quiet=json))
    if json:
        output.print_json(_as_data(result, limit))
    else:
        _show(result, limit, explain=explain)


@app.command("list")
def list_items(
    user: options.UserOption = "default",
    session: options.SessionOption = None,
    private: options.VisibleOption = True,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    role: options.RoleOption = None,
    kind: options.KindOption = None,
    tag: options.TagOption = None,
    limit: options.LimitOption = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the newest items, the latest last.

    --json: a list of objects with id, user, session, turn_id, kind, role, text, said_at (seconds
    since 1970), private, tags, source and dates.
    """
    from vanta.memory import Scope

    chosen = options.filters(since, until, role, kind, tag)
    scope = Scope(user, session, private)
    items = with_memory(config, lambda memory: memory.newest(scope, filters=chosen, limit=limit))
    if json:
        output.print_json([item.to_dict() for item in items])
    elif items:
        from vanta.cli.memory.tables import show_items

        show_items(items)
    else:
        output.print_status(
            f"No item of user {user!r} fits. `vanta memory stats` shows which users have items, "
            "`vanta memory add FILE` adds some."
        )


@app.command()
def stats(
    user: options.AnyUserOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the size of memory, its embedder and index, and the items that wait for them.

    --json: an object with items, private, kinds, users, sessions, first_said_at, last_said_at
    (seconds since 1970), vectors, waiting_for_a_vector, waiting_for_the_index, embedder, index and
    trouble.
    """
    figures = with_memory(config, lambda memory: memory.stats(user))
    if json:
        output.print_json(figures)
        return
    from vanta.cli.memory.tables import show_stats

    show_stats(figures)


@app.command()
def reindex(
    anew: Annotated[
        bool, typer.Option("--anew", help="Delete all vectors first, then embed every text.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Embed the items without a vector of the present embedder, and update the index.

    Ctrl-C stops it; the next run continues. The exit code is 1 if the index is not up to date.
    --json: the object of `vanta memory stats` afterwards.
    """
    figures = with_memory(config, lambda memory: _reindex(memory, anew=anew, quiet=json))
    if json:
        output.print_json(figures)
    else:
        from vanta.cli.memory.tables import show_stats

        show_stats(figures)
    if figures["trouble"]:
        raise typer.Exit(output.ExitCode.FAILED)


async def _recall_when_ready(memory: Memory, question: Question, *, quiet: bool) -> Recollection:
    """Recall once the embedder and the index are ready; `skipped` says which are not."""
    import dataclasses

    with progress_bar(waiting_for(memory), "embedding", quiet=quiet) as report:
        missing = await memory.ready(question.scope, report)
        result = await memory.recall(question)
    if missing and missing not in result.skipped:
        skipped = "; ".join(filter(None, [result.skipped, missing]))
        return dataclasses.replace(result, skipped=skipped)
    return result


async def _reindex(memory: Memory, *, anew: bool, quiet: bool) -> dict[str, Any]:
    import anyio

    reached = ""

    def report(done: int, total: int) -> None:
        nonlocal reached
        reached = f" after {done} of {total}"
        show(done, total)

    with progress_bar(waiting_for(memory), "embedding", quiet=quiet) as show:
        try:
            await memory.reindex(report, anew=anew)
        except anyio.get_cancelled_exc_class():
            output.print_status(f"stopped{reached}: `vanta memory reindex` continues from there")
            raise
    return await memory.stats()


def _as_data(result: Recollection, limit: int) -> dict[str, Any]:
    matches = [
        {"score": match.score, "parts": dict(match.parts), "item": match.item.to_dict()}
        for match in result.items[:limit]
    ]
    return {
        "found": matches,
        "took_s": result.took_s,
        "embedder": result.embedder,
        "index": result.index,
        "skipped": result.skipped,
    }


def _show(result: Recollection, limit: int, *, explain: bool) -> None:
    from vanta.cli.memory.tables import describe_sources, show_matches, show_scores

    best = result.items[:limit]
    if not best:
        output.print_status("Nothing was found. `vanta memory list` shows the items.")
    elif explain:
        show_scores(best)
    else:
        show_matches(best)
    if explain or (result.skipped and not result.embedder):
        output.print_status(describe_sources(result))


app.command()(add)
app.command()(forget)
app.command()(export)
app.command("import")(import_lines)
