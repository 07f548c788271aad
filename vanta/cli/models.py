"""`vanta models`: list, inspect, fetch and verify models.

Invariant: only fetching uses the network, and Ctrl-C leaves the store as it was. With `--json`
stdout carries one document and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import load_setup

if TYPE_CHECKING:
    from vanta.engine import ModelFile
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
def list_models(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the models of the registry: whether each is on disk, its size, and whether it fits.

    --json: a list of objects with id, present, path, size_bytes, source, licence, window,
    quantisation, description, memory and hint.
    """
    models = _store(config).list()
    if json:
        output.print_json(models)
        return
    output.print_table(
        ("model", "here", ">size", ">window", "fits", "what it is"),
        [
            (
                model["id"],
                output.status_cell(model["present"]),
                _size(model["size_bytes"]),
                str(model["window"] or "?"),
                output.status_cell(model["memory"]["fits"], ("yes", "no", "?")),
                model["description"],
            )
            for model in models
        ],
    )


@app.command()
def info(
    model: ModelArgument,
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, help="Context window for the memory check, in tokens."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show everything known about one model, and whether it fits in memory.

    --json: an object with the registry's fields, and present, path, hint, architecture, memory and
    sampling: the recommended values and their source.
    """
    fields = _store(config).info(model, window=window)
    if json:
        output.print_json(fields)
        return
    known = {key: value for key, value in fields.items() if value not in (None, "", [], ())}
    output.print_table(("", ""), [(key, _format(key, value)) for key, value in known.items()])


@app.command()
def verify(model: ModelArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Check a model's file against the registry's size and hash.

    The exit code is 1 if the file is missing or wrong. --json: an object with id, status (ok,
    corrupt, missing, unknown), detail, path, size_bytes, sha256 and fix.
    """
    store = _store(config)
    with _progress() as progress:
        result = store.verify(model, progress)
    if json:
        output.print_json(result.to_dict())
    else:
        output.print_line(f"{result.status}: {result.id}: {result.detail}")
        if result.fix:
            output.print_line(f"fix it with: {result.fix}")
    if result.status in {"corrupt", "missing"}:
        raise typer.Exit(output.ExitCode.FAILED)


@app.command()
def pull(model: ModelArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Fetch a model; a verified file on disk is not fetched again.

    An interrupted download is resumed. --json: an object with id, path and size_bytes.
    """
    store = _store(config)
    with _progress() as progress:
        file = store.pull(model, progress)
    if json:
        size = file.path.stat().st_size
        output.print_json({"id": file.id, "path": str(file.path), "size_bytes": size})
        return
    output.print_line(f"{file.id} is here: {file.path}")


def find_or_pull(store: ModelStore, ref: str) -> ModelFile:
    """Return the model `ref`, fetched with a progress bar if it is not on disk. Blocking.

    A model on disk costs no network and no hashing.

    :raises UnknownName: if neither the registry nor the disk has it.
    :raises ModelStoreError: if it cannot be fetched.
    """
    from vanta.errors import ModelStoreError

    try:
        return store.find(ref)
    except ModelStoreError:
        with _progress() as progress:
            return store.pull(ref, progress)


def _store(config: str | None) -> ModelStore:
    return load_setup(config).models


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar on a terminal, and elsewhere a line for each phase."""
    console = output.stderr()
    if not console.is_terminal:
        yield _PhaseLines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task("starting", total=None)

        def show(done: int, total: int | None, phase: str) -> None:
            bars.update(task, completed=done, total=total, description=_PHASES.get(phase, phase))

        yield show


class _PhaseLines:
    """Progress without a terminal: prints each phase once."""

    def __init__(self) -> None:
        self._phase = ""

    def __call__(self, _done: int, _total: int | None, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            output.print_status(f"{_PHASES.get(phase, phase)}...")


def _size(count: int | None) -> str:
    from vanta.models import megabytes

    return "?" if count is None else megabytes(count)


def _format(key: str, value: Any) -> str:
    if key == "memory":
        fits = {True: "it fits", False: "it does not fit", None: "not known"}[value["fits"]]
        return f"{fits}: {value['arithmetic']}"
    if key == "sampling":
        named = (f"{name} {number:g}" for name, number in value.items() if name != "source")
        return f"{', '.join(named)} (from {value['source']})"
    if key.endswith("size_bytes"):
        return _size(value)
    if key == "companions":
        return ", ".join(companion["name"] for companion in value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
