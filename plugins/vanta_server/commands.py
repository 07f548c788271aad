"""`vanta serve`: the runtime over HTTP, until Ctrl-C.

Invariant: nothing listens before the runtime is open, and the runtime is closed after the last
answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import ConfigOption, load_setup, open_runtime, print_line, print_status

if TYPE_CHECKING:
    from socket import socket

    from vanta_server.access import AccessRules
    from vanta_server.running import ServerSettings

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The interface; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for a free one.")] = 8780,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name of this server; may be repeated."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Pages of this site may ask; may be repeated."),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="For running answers, once it is to stop."),
    ] = 20.0,
    config: ConfigOption = None,
) -> None:
    """Serve the runtime over HTTP, to every client of OpenAI, Anthropic or Ollama.

    OpenAI's clients use the base URL that is printed, others the same without '/v1'. The model is
    'vanta', 'vanta/race' or any other that `/v1/models` lists. Without keys only programs on this
    machine can ask; 'vanta keys create USER' makes one. Ctrl-C lets running answers finish; a
    second one ends at once.
    """
    import anyio

    from vanta_server.access import AccessRules
    from vanta_server.keys.key_commands import key_store
    from vanta_server.running import ServerSettings, bind

    setup = load_setup(config)
    rules = AccessRules(
        keys=key_store(setup),
        hosts=[*(allow_host or ()), host],
        origins=allow_origin or (),
    )
    settings = ServerSettings(host=host, port=port, drain_s=drain)
    with bind(settings, rules) as listener:
        anyio.run(_serve, config, listener, rules, settings, backend="asyncio")


async def _serve(
    config: str | None, listener: socket, rules: AccessRules, settings: ServerSettings
) -> None:
    from vanta_server.running import serve as run
    from vanta_server.running import url_of

    def on_ready() -> None:
        print_line(f"{url_of(listener)}/v1")
        print_status("Ready: this is the base URL for OpenAI clients. Ctrl-C stops.")

    async with open_runtime(config) as runtime:
        await run(runtime, listener, rules, drain_s=settings.drain_s, on_ready=on_ready)
    print_status("Stopped.")
