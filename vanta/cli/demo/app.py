"""`vanta demo`: a short conversation over both tracks, drawn as it happened.

Invariant: it says what is real and what is simulated, writes nothing but the model and what `--svg`
names, and stops all that it started, Ctrl-C or not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vanta.cli import output

if TYPE_CHECKING:
    from vanta.cli.demo.plan import DemoTurn, Stage
    from vanta.errors import VantaError
    from vanta.events import Event, Reply
    from vanta.runtime import Session, SyncRuntime

app = typer.Typer()


@app.command()
def demo(
    json: output.JsonOption = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write the race as a picture.")
    ] = None,
    delay: Annotated[
        float, typer.Option("--delay", min=0.0, metavar="SECONDS", help="Of the simulated api.")
    ] = 0.4,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="The local model to use.")
    ] = None,
) -> None:
    """See both tracks race, cascade and take over.

    The api track is the one that OPENAI_API_KEY or OPENAI_BASE_URL name; without them it is a
    server on this machine, with a delay that is stated.
    """
    if svg:
        _check_writable(svg)
    with _stage(model, delay) as stage, _opened(stage) as runtime:
        if not json:
            _introduce(stage)
        results = list(_perform(runtime, quiet=json))
    replies = [result.reply for result in results if result.reply]
    if svg and replies:
        _draw(svg, replies[0], stage)
    if json:
        output.print_json({**stage.described(), "turns": [r.to_dict() for r in results]})
    if len(replies) < len(results):
        raise typer.Exit(output.ExitCode.FAILED)


@dataclass(frozen=True, slots=True)
class _Result:
    """A turn of the demo and what came of it: a reply or an error."""

    turn: DemoTurn
    reply: Reply | None = None
    error: VantaError | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "policy": self.turn.policy,
            "say": self.turn.say,
            "reply": self.reply.to_dict() if self.reply else None,
            "error": str(self.error) if self.error else None,
        }


@contextmanager
def _stage(model: str | None, delay_s: float) -> Iterator[Stage]:
    """The model on this disk and the servers that the demo needs."""
    import os

    from vanta.cli.demo.loopback_server import loopback
    from vanta.cli.demo.plan import CUT_AFTER, MODEL, Stage, half_the_cores
    from vanta.cli.fetching import ensure
    from vanta.config import load
    from vanta.models import ModelStore

    name = model or MODEL
    ensure(ModelStore(load({}).config.data_dir / "models"), name)
    real = bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))
    threads = half_the_cores()
    serve = partial(loopback, name, delay_s=delay_s, threads=threads)
    with ExitStack() as stack:
        with output.stderr().status("[dim]starting servers on loopback"):
            cut = stack.enter_context(serve(cut_after=CUT_AFTER))
            api = None if real else stack.enter_context(serve())
        yield Stage(name, threads, api, cut)


@contextmanager
def _opened(stage: Stage) -> Iterator[SyncRuntime]:
    """A runtime whose conversations are gone with it."""
    import vanta

    with tempfile.TemporaryDirectory(prefix="vanta-demo-") as folder:
        config = stage.config(f"sqlite:///{folder}/demo.sqlite3")
        with vanta.open(config) as runtime:
            with output.stderr().status(f"[dim]loading {stage.model}"):
                runtime.warm_up("local")
            yield runtime


def _introduce(stage: Stage) -> None:
    from rich.text import Text

    for kind, parts in stage.described().items():
        for name, what in parts.items():
            label = Text(f"{kind:<10}", "bold green" if kind == "real" else "bold yellow")
            output.stdout().print(label.append(f"{name}: {what}", "not bold default"))


def _perform(runtime: SyncRuntime, *, quiet: bool) -> Iterator[_Result]:
    """The turns, one after another in one conversation."""
    from vanta.cli.demo.plan import TURNS
    from vanta.errors import VantaError

    session = runtime.runtime.session("demo")
    for turn in TURNS:
        if not quiet:
            _announce(turn)
        try:
            reply = _take(runtime, session, turn, quiet=quiet)
        except VantaError as error:
            output.print_error(error)
            yield _Result(turn, error=error)
        else:
            yield _Result(turn, reply)


def _announce(turn: DemoTurn) -> None:
    console = output.stdout()
    console.print()
    console.rule(f"[bold]{turn.policy}", align="left", style="dim")
    console.print(turn.shows, style="dim", markup=False)
    console.print(f"[bold]you>[/bold] {turn.say}")


def _take(runtime: SyncRuntime, session: Session, turn: DemoTurn, *, quiet: bool) -> Reply:
    """One turn, shown unless `quiet`. Raises KeyboardInterrupt if Ctrl-C stopped it."""
    from vanta.cli.chat.screen import Screen
    from vanta.cli.demo.plan import TURNS
    from vanta.cli.interruptible import Interruptible
    from vanta.drawing import timeline
    from vanta.events import TurnFinished

    replies: list[Reply] = []

    async def work(tell: Callable[[Event], None]) -> None:
        async with session.stream(turn.say, policy=turn.policy) as events:
            async for event in events:
                tell(event)

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
    """Raises UsageError now rather than after the demo."""
    import os

    from vanta.errors import UsageError

    target = path if path.exists() else path.absolute().parent
    if path.is_dir() or not os.access(target, os.W_OK):
        raise UsageError(f"the picture cannot be written to {str(path)!r}. Name another file.")


def _draw(path: Path, reply: Reply, stage: Stage) -> None:
    """Write the picture of a race."""
    from vanta.drawing import svg

    note = "Measured by `vanta demo`."
    if stage.api is not None:
        note += (
            f" Both tracks run the same small model on one machine; the api's is behind HTTP and "
            f"begins {stage.api.delay_s * 1000:.0f} ms late."
        )
    path.write_text(svg(reply.trace, title="One turn, two tracks", note=note), encoding="utf-8")
    output.say(f"the race as a picture: {path}")
