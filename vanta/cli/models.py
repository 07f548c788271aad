"""`vanta models`: what there is, what fits, fetching it and checking it.

Invariant: only `pull` uses the network; with `--json` stdout has one document and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output, tables
from vanta.cli.ground import ground

if TYPE_CHECKING:
    from vanta.models import ModelStore, Progress

app = typer.Typer(help="List, inspect, fetch and verify models.", no_args_is_help=True)

ModelArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An id or alias of `vanta models list`, or a file.")
]
_PHASES = {
    "waiting": "waiting for another process",
    "download": "downloading",
    "check": "checking",
    "extract": "unpacking",
}


@app.command("list")
def list_models(json: output.JsonOption = False, config: output.ConfigOption = None) -> None:
    """List the models of the registry: which are here, how large they are, whether they fit.

    --json: a list of objects with id, present, path, size_bytes, source, licence, window,
    quantisation, description, memory and hint.
    """
    found = _store(config).list()
    if json:
        output.print_json(found)
        return
    tables.show(
        ("model", "here", ">size", ">window", "fits", "what it is"),
        [
            (
                model["id"],
                tables.mark(model["present"]),
                _size(model["size_bytes"]),
                str(model["window"] or "?"),
                tables.mark(model["memory"]["fits"], ("yes", "no", "?")),
                model["description"],
            )
            for model in found
        ],
    )


@app.command()
def info(
    model: ModelArgument,
    window: Annotated[
        int | None, typer.Option("--window", min=1, help="Tokens that the memory verdict is for.")
    ] = None,
    json: output.JsonOption = False,
    config: output.ConfigOption = None,
) -> None:
    """Show all that is known of one model, and whether it fits in memory.

    --json: an object with the registry's fields, and present, path, hint, architecture and memory.
    """
    found = _store(config).info(model, window=window)
    if json:
        output.print_json(found)
        return
    told = {key: value for key, value in found.items() if value not in (None, "", [], ())}
    tables.show(("", ""), [(key, _told(key, value)) for key, value in told.items()])


@app.command()
def verify(
    model: ModelArgument, json: output.JsonOption = False, config: output.ConfigOption = None
) -> None:
    """Check a model's file against the registry's size and hash.

    Ends in 1 if the file is missing or wrong. --json: an object with id, status (ok, corrupt,
    missing, unknown), detail, path, size_bytes, sha256 and mend.
    """
    store = _store(config)
    with _progress() as progress:
        found = store.verify(model, progress)
    if json:
        output.print_json(found.to_dict())
    else:
        tables.line(f"{found.status}: {found.id}: {found.detail}")
        if found.mend:
            tables.line(f"mend it with: {found.mend}")
    if found.status in {"corrupt", "missing"}:
        raise typer.Exit(output.ExitCode.FAILED)


@app.command()
def pull(
    model: ModelArgument, json: output.JsonOption = False, config: output.ConfigOption = None
) -> None:
    """Fetch a model, once: what is here and right is not fetched again.

    An interrupted download is gone on with. --json: an object with id, path and size_bytes.
    """
    store = _store(config)
    with _progress() as progress:
        found = store.pull(model, progress)
    if json:
        size = found.path.stat().st_size
        output.print_json({"id": found.id, "path": str(found.path), "size_bytes": size})
        return
    tables.line(f"{found.id} is here: {found.path}")


def _store(config: str | None) -> ModelStore:
    return ground(config).models


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, a line for each phase elsewhere."""
    console = output.stderr()
    if not console.is_terminal:
        yield _Lines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task("starting", total=None)

        def show(done: int, total: int | None, phase: str) -> None:
            bars.update(task, completed=done, total=total, description=_PHASES.get(phase, phase))

        yield show


class _Lines:
    """Progress where no bar can be drawn: says each phase once."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, _done: int, _total: int | None, phase: str) -> None:
        if phase != self._said:
            self._said = phase
            output.say(f"{_PHASES.get(phase, phase)}...")


def _size(count: int | None) -> str:
    from vanta.models.fit import megabytes

    return "?" if count is None else megabytes(count)


def _told(key: str, value: Any) -> str:
    if key == "memory":
        fits = {True: "it fits", False: "it does not fit", None: "not known"}[value["fits"]]
        return f"{fits}: {value['arithmetic']}"
    if key.endswith("size_bytes"):
        return _size(value)
    if key == "companions":
        return ", ".join(companion["name"] for companion in value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
