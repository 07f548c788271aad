"""`vanta demo`: a short conversation over both tracks, drawn as it happened.

Invariant: it states what is real and what is simulated, writes only the model and the file of
`--svg`, and stops everything that it started, even after Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output
from vanta.cli.options import JsonOption
from vanta.files import write_private

if TYPE_CHECKING:
    from vanta.cli.demo.plan import DemoScene, DemoTurn
    from vanta.errors import VantaError
    from vanta.events import Event
    from vanta.runtime import Session, SyncRuntime
    from vanta.trace import Reply

app = typer.Typer()


@app.command()
def demo(
    json: JsonOption = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw the race into a file.")
    ] = None,
    delay: Annotated[
        float,
        typer.Option("--delay", min=0.0, metavar="SECONDS", help="Delay of the simulated api."),
    ] = 0.4,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="The local model to use.")
    ] = None,
) -> None:
    """See tracks race, cascade, take over, share a call.

    The api track is the server that OPENAI_API_KEY or OPENAI_BASE_URL name; without them it is
    simulated by a server on this machine, with a stated delay.
    """
    if svg:
        _check_writable(svg)
    with _scene(model, delay) as scene, _open(scene) as runtime:
        if not json:
            _introduce(scene)
        results = list(_perform(runtime, quiet=json))
    results.append(_perform_equal_calls(quiet=json))
    replies = [result.reply for result in results if result.reply]
    if svg and replies:
        _draw(svg, replies[0], scene)
    if json:
        output.print_json({**scene.describe(), "turns": [result.to_dict() for result in results]})
    if len(replies) < len(results):
        raise typer.Exit(output.ExitCode.FAILED)


@dataclass(frozen=True, slots=True)
class _DemoResult:
    """A turn of the demo with its reply or its error.

    :param tool_runs: how often the tool of the turn ran; None for a turn without one.
    """

    turn: DemoTurn
    reply: Reply | None = None
    error: VantaError | None = None
    tool_runs: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "policy": self.turn.policy,
            "say": self.turn.message,
            "reply": self.reply.to_dict() if self.reply else None,
            "error": str(self.error) if self.error else None,
            **({} if self.tool_runs is None else {"tool_runs": self.tool_runs}),
        }


@contextmanager
def _scene(model: str | None, delay_s: float) -> Iterator[DemoScene]:
    """Fetch the model if necessary and start the servers."""
    import os

    from vanta.cli.demo.loopback_server import loopback
    from vanta.cli.demo.plan import CUT_AFTER, MODEL, DemoScene, half_the_cores
    from vanta.cli.models import find_or_pull
    from vanta.config import load
    from vanta.models import ModelStore

    name = model or MODEL
    find_or_pull(ModelStore(load({}).config.data_dir / "models"), name)
    real = bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))
    threads = half_the_cores()
    serve = partial(loopback, name, delay_s=delay_s, threads=threads)
    with ExitStack() as stack:
        with output.stderr().status("[dim]starting servers on loopback"):
            cut = stack.enter_context(serve(cut_after=CUT_AFTER))
            api = None if real else stack.enter_context(serve())
        yield DemoScene(name, threads, api, cut)


@contextmanager
def _open(scene: DemoScene) -> Iterator[SyncRuntime]:
    """Open a runtime whose conversations are deleted when it closes."""
    import vanta
    from vanta.storage import sqlite_url

    with tempfile.TemporaryDirectory(prefix="vanta-demo-") as folder:
        url = sqlite_url(Path(folder)).render_as_string(hide_password=False)
        config = scene.config(url)
        with vanta.open(config) as runtime:
            with output.stderr().status(f"loading {scene.model}"):
                runtime.warm_up("local")
            yield runtime


def _introduce(scene: DemoScene) -> None:
    from rich.text import Text

    for kind, parts in scene.describe().items():
        for name, description in parts.items():
            label = Text(f"{kind:<10}", "bold green" if kind == "real" else "bold yellow")
            output.stdout().print(label.append(f"{name}: {description}", "not bold default"))


def _perform(runtime: SyncRuntime, *, quiet: bool) -> Iterator[_DemoResult]:
    """Run the turns one after another in one conversation."""
    from vanta.cli.demo.plan import TURNS

    session = runtime.runtime.session("demo")
    for turn in TURNS:
        yield _attempt(runtime, session, turn, quiet=quiet)


def _perform_equal_calls(*, quiet: bool) -> _DemoResult:
    """Run the turn in which both tracks want the same call, and state how often its tool ran."""
    from vanta.cli.demo.plan import EQUAL_CALLS
    from vanta.cli.demo.shared_call import open_scene

    with open_scene() as (runtime, runs):
        session = runtime.runtime.session("demo")
        result = _attempt(runtime, session, EQUAL_CALLS, quiet=quiet)
    if result.reply and not quiet:
        asked = [leg.track for leg in result.reply.trace.legs if leg.round == 0]
        times = "once" if runs.count == 1 else f"{runs.count} times"
        line = f"wanted by {' and '.join(sorted(asked))}; the tool ran {times}"
        output.stdout().print(f"[bold]now[/bold]  {line}")
    return dataclasses.replace(result, tool_runs=runs.count)


def _attempt(runtime: SyncRuntime, session: Session, turn: DemoTurn, *, quiet: bool) -> _DemoResult:
    from vanta.errors import VantaError

    if not quiet:
        _announce(turn)
    try:
        return _DemoResult(turn, _run_turn(runtime, session, turn, quiet=quiet))
    except VantaError as error:
        output.print_error(error)
        return _DemoResult(turn, error=error)


def _announce(turn: DemoTurn) -> None:
    console = output.stdout()
    console.print()
    console.rule(f"[bold]{turn.policy}", align="left", style="dim")
    console.print(turn.shows, style="dim", markup=False)
    console.print(f"[bold]you>[/bold] {turn.message}")


def _run_turn(runtime: SyncRuntime, session: Session, turn: DemoTurn, *, quiet: bool) -> Reply:
    """Run one turn, shown unless `quiet`. Raises KeyboardInterrupt if Ctrl-C stopped it."""
    from vanta.cli.chat.screen import Screen
    from vanta.cli.demo.plan import TURNS
    from vanta.cli.turns import Interruptible
    from vanta.drawing import timeline
    from vanta.events import TurnFinished

    replies: list[Reply] = []

    async def work(report: Callable[[Event], None]) -> None:
        async with session.stream(turn.message, policy=turn.policy) as events:
            async for event in events:
                report(event)

    with Screen() as screen:

        def show(event: Event) -> None:
            if isinstance(event, TurnFinished):
                replies.append(event.reply)
            if not quiet:
                screen.show(event)

        watched: Interruptible[Event] = Interruptible(runtime.portal)
        if not watched.watch(work, show):
            raise KeyboardInterrupt
    if not quiet:
        output.stdout().print(timeline(replies[0].trace, legend=turn is TURNS[0]))
    return replies[0]


def _check_writable(path: Path) -> None:
    """Raise UsageError before the demo runs rather than after it."""
    import os

    from vanta.errors import UsageError

    target = path if path.exists() else path.absolute().parent
    if path.is_dir() or not os.access(target, os.W_OK):
        raise UsageError(f"the picture cannot be written to {str(path)!r}. Name another file.")


def _draw(path: Path, reply: Reply, scene: DemoScene) -> None:
    """Write a race as an SVG file."""
    from vanta.drawing import svg

    note = "Measured by `vanta demo`."
    if scene.api is not None:
        note += (
            f" Both tracks run the same small model on one machine; the api is behind HTTP and "
            f"starts {scene.api.delay_s * 1000:.0f} ms late."
        )
    write_private(path, svg(reply.trace, title="One turn, two tracks", note=note))
    output.print_status(f"the race is drawn in {path}")
