"""`vanta memory`: search it, feed it, take it along, forget for good.

Invariant: it works without any engine and beside a runtime that is open; what changes memory says
what it changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.memory import options
from vanta.cli.memory.add import add
from vanta.cli.memory.export_import import export, import_lines
from vanta.cli.memory.forget import forget
from vanta.cli.memory.opening import with_memory

if TYPE_CHECKING:
    from vanta.memory.items import Recollection
    from vanta.memory.memory import Memory, Question

app = typer.Typer(
    help="Search what is remembered, add to it, carry it along, forget.", no_args_is_help=True
)


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
        bool, typer.Option("--explain", help="Show what each score is made of, and who took part.")
    ] = False,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Look for what was said and added, by words and by meaning, the best first.

    It waits until meaning can take part, which a turn would not. --json: an object with found
    (objects with score, parts, which add up to it, and item), took_s, embedder, index and skipped.
    """
    from vanta.memory.items import Scope
    from vanta.memory.memory import Question

    chosen = options.filters(since, until, role, kind, tag)
    question = Question(" ".join(words), Scope(user, session, private), chosen, limit=limit)
    found = with_memory(config, lambda memory: patient_recall(memory, question, quiet=json))
    if json:
        output.print_json(_as_data(found, limit))
    else:
        _show(found, limit, explain=explain)


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
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """List the newest items, the latest last.

    --json: a list of objects with id, user, session, turn_id, kind, role, text, said_at (seconds
    since 1970), private, tags, source and dates.
    """
    from vanta.memory.items import Scope

    chosen = options.filters(since, until, role, kind, tag)
    scope = Scope(user, session, private)
    items = with_memory(config, lambda memory: memory.newest(scope, filters=chosen, limit=limit))
    if json:
        output.print_json([item.to_dict() for item in items])
    elif items:
        from vanta.cli.memory.tables import show_items

        show_items(items)
    else:
        output.say(
            f"Nothing of user {user!r} is remembered that fits. `vanta memory stats` tells of whom "
            "there is something, `vanta memory add FILE` adds to it."
        )


@app.command()
def stats(
    user: options.AnyUserOption = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Show what memory holds, who finds in it, and what waits to be indexed.

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
        bool, typer.Option("--anew", help="Throw all vectors away first, then embed every text.")
    ] = False,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Embed what has no vector of the present embedder, and bring the index in step.

    Ctrl-C stops it; the next time it goes on where it was. Ends in 1 if the index is not in step.
    --json: the object of `vanta memory stats` when it is done.
    """
    figures = with_memory(config, lambda memory: _reindex(memory, anew=anew, quiet=json))
    if json:
        output.print_json(figures)
    else:
        from vanta.cli.memory.tables import show_stats

        show_stats(figures)
    if figures["trouble"]:
        raise typer.Exit(output.ExitCode.FAILED)


async def patient_recall(memory: Memory, question: Question, *, quiet: bool) -> Recollection:
    """A recall in which all that is configured takes part, however long that takes; what cannot is
    in `skipped`."""
    import dataclasses

    from vanta.cli.memory.progress import shown

    with shown(waits_for(memory), "embedding", quiet=quiet) as progress:
        missing = await memory.ready(question.scope, progress)
        found = await memory.recall(question)
    if missing and missing not in found.skipped:
        said = "; ".join(filter(None, [found.skipped, missing]))
        return dataclasses.replace(found, skipped=said)
    return found


def waits_for(memory: Memory) -> str:
    """What a person waits for before memory finds by meaning."""
    if memory.dense is None:
        return "looking for words"
    index = f", index {memory.dense.index.name}" if memory.dense.index else ""
    return f"waiting for embedder {memory.dense.embedder.name}{index}"


async def _reindex(memory: Memory, *, anew: bool, quiet: bool) -> dict[str, Any]:
    import anyio

    from vanta.cli.memory.progress import shown

    reached = ""

    def tell(done: int, total: int) -> None:
        nonlocal reached
        reached = f" after {done} of {total}"
        progress(done, total)

    with shown(waits_for(memory), "embedding", quiet=quiet) as progress:
        try:
            await memory.reindex(tell, anew=anew)
        except anyio.get_cancelled_exc_class():
            output.say(f"stopped{reached}: `vanta memory reindex` goes on from there")
            raise
    return await memory.stats()


def _as_data(found: Recollection, limit: int) -> dict[str, Any]:
    told = [
        {"score": one.score, "parts": dict(one.parts), "item": one.item.to_dict()}
        for one in found.found[:limit]
    ]
    return {
        "found": told,
        "took_s": found.took_s,
        "embedder": found.embedder,
        "index": found.index,
        "skipped": found.skipped,
    }


def _show(found: Recollection, limit: int, *, explain: bool) -> None:
    from vanta.cli.memory.tables import participants, show_found, show_scores

    best = found.found[:limit]
    if not best:
        output.say("Nothing was found. `vanta memory list` shows what is there.")
    elif explain:
        show_scores(best)
    else:
        show_found(best)
    if explain or (found.skipped and not found.embedder):
        output.say(participants(found))


app.command()(add)
app.command()(forget)
app.command()(export)
app.command("import")(import_lines)
