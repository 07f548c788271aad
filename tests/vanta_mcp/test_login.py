"""Logging in: the flow with a login server, the file of tokens, and who gets them."""

from __future__ import annotations

import json
import stat
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.vanta_mcp.login_server import LoginServer, serving_logins
from vanta import ToolError
from vanta.config import McpServerConfig
from vanta_mcp.client.toolset import McpToolset
from vanta_mcp.commands.log_in import log_in
from vanta_mcp.login.provider import token_file
from vanta_mcp.settings import Server

pytestmark = pytest.mark.one_loop


@pytest.fixture
def web() -> Iterator[LoginServer]:
    """A server that asks for a login."""
    with serving_logins() as made:
        yield made


def server(web: LoginServer, folder: Path, **settings: str) -> Server:
    config = McpServerConfig(url=web.url, **settings)  # type: ignore[arg-type]
    return Server("hub", config, folder / "hub", folder)


def person(said: list[str]) -> object:
    """Return what a person does who is shown the URL of a login: open it in a browser."""

    def say(line: str) -> None:
        said.append(line)
        url = line.rpartition(" ")[2]
        threading.Thread(target=lambda: urllib.request.urlopen(url).read(), daemon=True).start()  # noqa: S310

    return say


def use(made: Server) -> list[str]:
    """List the tools as a runtime does, without a person."""

    async def main() -> list[str]:
        toolset = McpToolset(made)
        try:
            return [tool.name for tool in await toolset.tools()]
        finally:
            await toolset.aclose()

    return anyio.run(main)


def logged_in(made: Server) -> list[str]:
    said: list[str] = []
    assert log_in(made, open_browser=False, timeout_s=20, say=person(said)) == 1  # type: ignore[arg-type]
    return said


def test_a_login_is_stored_for_its_owner_and_used_without_a_person(
    web: LoginServer, tmp_path: Path
) -> None:
    made = server(web, tmp_path)
    with pytest.raises(ToolError, match=r"asks for a login. Run: vanta mcp auth hub"):
        use(made)
    assert "/register" not in web.counts
    (line,) = logged_in(made)
    assert line.startswith(f"Log in here: {web.base}/authorize?")
    path = tmp_path / "hub" / "login.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert use(made) == ["echo"]
    assert web.counts["/authorize"] == 1


def test_a_token_that_has_expired_is_refreshed(web: LoginServer, tmp_path: Path) -> None:
    made = server(web, tmp_path)
    logged_in(made)
    path = tmp_path / "hub" / "login.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "expires_at": 1.0}))
    web.valid.clear()
    assert use(made) == ["echo"]
    assert web.valid == {"access-2"}
    assert json.loads(path.read_text())["tokens"]["access_token"] == "access-2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert web.counts["/authorize"] == 1


def test_a_login_that_counts_no_longer_is_reported(web: LoginServer, tmp_path: Path) -> None:
    made = server(web, tmp_path)
    logged_in(made)
    web.valid.clear()
    with pytest.raises(ToolError, match=r"counts no longer.* Run: vanta mcp auth hub"):
        use(made)
    logged_in(made)
    assert use(made) == ["echo"]


def test_tokens_count_for_their_url_alone(web: LoginServer, tmp_path: Path) -> None:
    made = server(web, tmp_path)
    logged_in(made)
    with serving_logins() as other:
        with pytest.raises(ToolError, match="asks for a login"):
            use(server(other, tmp_path))
        assert not other.valid
        assert all("access" not in str(headers) for _, _, headers in other.requests)


def test_a_person_who_refuses_is_not_logged_in(web: LoginServer, tmp_path: Path) -> None:
    web.refuses = True
    made = server(web, tmp_path)
    with pytest.raises(ToolError, match="the login was refused: not today"):
        logged_in(made)
    assert not token_file(made).has_tokens


def test_a_configured_client_is_not_registered_anew(web: LoginServer, tmp_path: Path) -> None:
    logged_in(server(web, tmp_path, oauth_client_id="mine"))
    assert "/register" not in web.counts


def test_no_login_where_the_settings_say_so(web: LoginServer, tmp_path: Path) -> None:
    made = Server("hub", McpServerConfig(url=web.url, oauth=False), tmp_path / "hub", tmp_path)
    with pytest.raises(ToolError, match="is off"):
        use(made)


def test_a_forgotten_login_is_gone(web: LoginServer, tmp_path: Path) -> None:
    made = server(web, tmp_path)
    logged_in(made)
    assert token_file(made).forget()
    assert not token_file(made).has_tokens
    assert not token_file(made).forget()


def test_a_damaged_file_is_named(web: LoginServer, tmp_path: Path) -> None:
    path = tmp_path / "hub" / "login.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ToolError, match=r"login.json' cannot be read: .* log in again"):
        use(server(web, tmp_path))
