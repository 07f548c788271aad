"""`vanta keys`: create, list and revoke the keys of the server.

Invariant: a key is printed once, when it is created, and nowhere else.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import (
    ConfigOption,
    JsonOption,
    Setup,
    load_setup,
    print_json,
    print_line,
    print_status,
    print_table,
)

if TYPE_CHECKING:
    from vanta_server.keys.key_store import KeyStore, ServerKey

app = typer.Typer(no_args_is_help=True)


def key_store(setup: Setup) -> KeyStore:
    """Return the keys of the server with this setup."""
    from vanta_server.keys.key_store import KeyStore

    return KeyStore(setup.config.data_dir / "server")


@app.command("create")
def create(
    user: Annotated[str, typer.Argument(help="Whose memory and caps its requests count for.")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="It may ask for this model only; may be repeated."),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="It may send so many requests.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Its answers may take so many, prompts included."),
    ] = None,
    cap_usd: Annotated[
        float | None,
        typer.Option(metavar="USD", help="Its user may cost so much, all keys together."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Create a key and print it. It is stored as a digest and cannot be shown again."""
    key, secret = key_store(load_setup(config)).create(
        user,
        model or (),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        cap_usd=cap_usd,
    )
    if json:
        print_json({**key.to_dict(), "key": secret})
        return
    print_line(secret)
    print_status(f"The key {key.id} of {user!r}. Keep it: it is not shown again.")


@app.command("list")
def list_keys(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the keys, without the keys themselves."""
    keys = key_store(load_setup(config)).list()
    if json:
        print_json([key.to_dict() for key in keys])
        return
    if not keys:
        print_status("There are no keys: only programs on this machine can ask the server.")
        return
    print_table(
        ("key", "user", "models", "limits", "created"),
        [
            (
                key.id,
                key.user,
                ", ".join(key.models) or "all",
                _limits(key),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(key.created_at)),
            )
            for key in keys
        ],
    )


def _limits(key: ServerKey) -> str:
    """Return the limits of a key for a person."""
    limits = (
        (key.requests_per_minute, "{} requests/min"),
        (key.tokens_per_minute, "{} tokens/min"),
        (key.cap_usd, "${:g}"),
    )
    return ", ".join(text.format(limit) for limit, text in limits if limit is not None) or "none"


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, from `vanta keys list`.")],
    config: ConfigOption = None,
) -> None:
    """Revoke a key: requests with it are refused from now on."""
    key_store(load_setup(config)).revoke(key)
    print_status(f"The key {key} is revoked.")
