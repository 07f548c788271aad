"""Who may ask: keys, hosts, origins, models, sizes; and what is open to all."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import openai
import pytest

from tests.vanta_server.served import ask, served
from vanta import UsageError
from vanta.testing import ScriptedEngine
from vanta_server.access import AccessRules
from vanta_server.keys import KeyStore
from vanta_server.running import ServerSettings, bind

pytestmark = pytest.mark.anyio

PATHS = ["/v1/models", "/v1/models/vanta", "/version", "/openapi.json", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_needs_a_key_once_there_is_one(path: str, tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        before = await server.get(path)
        _, secret = server.keys.create("anna")
        refused = await server.get(path)
        allowed = await server.get(path, headers={"authorization": f"Bearer {secret}"})
        also = await server.get(path, headers={"x-api-key": secret})
    assert before.status_code != 401
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert allowed.status_code == also.status_code == before.status_code


async def test_health_is_open_to_all(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        server.keys.create("anna")
        assert (await server.get("/health")).json() == {"status": "ok"}
        assert (await server.get("/ready")).json()["status"] == "ready"


async def test_a_revoked_key_is_refused_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        key, secret = server.keys.create("anna")
        server.keys.create("ben")
        async with server.client(secret) as client:
            await client.models.list()
            server.keys.revoke(key.id)
            with pytest.raises(openai.AuthenticationError, match="revoked"):
                await client.models.list()


async def test_a_key_has_its_models_and_its_user(tmp_path: Path) -> None:
    engine = ScriptedEngine("Hi")
    async with served(tmp_path, local=engine) as server:
        _, secret = server.keys.create("anna", ["vanta/local"])
        headers = {"authorization": f"Bearer {secret}", "x-vanta-user": "ben"}
        headers["x-vanta-session"] = "talk"
        allowed = await server.post(ask("Hi", model="vanta/local"), headers=headers)
        refused = await server.post(ask("Hi", model="vanta"), headers=headers)
        kept = {
            user: len(await server.runtime.session("talk", user=user).history())
            for user in ("anna", "ben")
        }
    assert (allowed.status_code, refused.status_code) == (200, 403)
    assert refused.json()["error"]["code"] == "model_not_allowed"
    assert kept == {"anna": 2, "ben": 0}


@pytest.mark.parametrize(
    "own", [{"track": "api"}, {"policy": "race"}, {"track": "api", "policy": "local"}]
)
async def test_the_field_of_vanta_leads_to_no_model_that_a_key_lacks(
    own: dict[str, str], tmp_path: Path
) -> None:
    local, api = ScriptedEngine("Hi"), ScriptedEngine("Paid")
    async with served(tmp_path, local=local, api=api) as server:
        _, secret = server.keys.create("anna", ["vanta/local"])
        headers = {"authorization": f"Bearer {secret}"}
        body = ask("Hi", model="vanta/local", vanta=own)
        refused = await server.post(body, headers=headers)
        same = ask("Hi", model="vanta/local", vanta={"policy": "local"})
        allowed = await server.post(same, headers=headers)
    assert (refused.status_code, allowed.status_code) == (403, 200)
    assert refused.json()["error"]["code"] == "model_not_allowed"
    assert api.requests == []


@pytest.mark.parametrize("removed", [False, True], ids=["revoked", "file removed"])
async def test_a_server_whose_last_key_is_gone_lets_no_one_in(
    removed: bool, tmp_path: Path
) -> None:
    key, secret = KeyStore(tmp_path / "server").create("anna")
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        if removed:
            (tmp_path / "server" / "keys.json").unlink()
        else:
            KeyStore(tmp_path / "server").revoke(key.id)  # by another process
        answers = [
            await server.get("/v1/models", headers=headers)
            for headers in ({}, {"authorization": f"Bearer {secret}"})
        ]
    assert [answer.status_code for answer in answers] == [401, 401]


async def test_the_name_of_a_user_is_the_same_in_a_header_and_in_a_body(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        session = ("x-vanta-session", "entrée".encode())
        await server.post(ask("Hi"), headers=[("x-vanta-user", "Zoë".encode()), session])
        await server.post(ask("Hi", user="Zoë"), headers=[session])
        kept = await server.runtime.session("entrée", user="Zoë").history()
    assert len(kept) == 4


@pytest.mark.parametrize("header", ["host", "origin"])
@pytest.mark.parametrize("value", ["[::1", "http://[::1", "@"])
async def test_a_header_that_is_no_address_is_refused_as_the_clients_fault(
    header: str, value: str, tmp_path: Path
) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        answer = await server.get("/v1/models", headers={header: value})
    assert answer.status_code in (400, 403)


async def test_the_file_of_the_keys_holds_no_key(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path)
    _, secret = keys.create("anna")
    path = tmp_path / "keys.json"
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.find(secret) is not None
    assert keys.find(secret + "x") is None


async def test_a_broken_file_of_keys_lets_no_one_in(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        server.keys.create("anna")
        (tmp_path / "server" / "keys.json").write_text("{")
        answer = await server.get("/v1/models")
    assert answer.status_code == 500
    assert "cannot be read" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_foreign_host_is_refused(host: str, tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        answer = await server.get("/v1/models", headers={"host": host})
    assert answer.status_code in (400, 403)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("https://chat.example", 200),
        (None, 200),
    ],
)
async def test_a_page_of_another_site_may_ask_only_if_allowed(
    origin: str | None, status: int, tmp_path: Path
) -> None:
    async with served(
        tmp_path, local=ScriptedEngine("Hi"), origins=["https://chat.example"]
    ) as server:
        headers = {} if origin is None else {"origin": origin}
        answer = await server.post(ask("Hi"), headers=headers)
        own = await server.post(ask("Hi"), headers={"origin": server.url})
    assert (answer.status_code, own.status_code) == (status, 200)


async def test_a_body_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        port = int(server.url.rsplit(":", 1)[1])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
            announced = await stream.receive()
        async with httpx2.AsyncClient(trust_env=False) as client:

            async def endless() -> AsyncIterator[bytes]:
                for _ in range(40):
                    yield b" " * 1024 * 1024

            sent = await client.post(f"{server.url}/v1/chat/completions", content=endless())
    assert announced.startswith(b"HTTP/1.1 413 ")
    assert sent.status_code == 413


def test_a_public_address_needs_a_key_first(tmp_path: Path) -> None:
    rules = AccessRules(keys=KeyStore(tmp_path))
    with pytest.raises(UsageError, match="vanta keys create"):
        bind(ServerSettings(host="0.0.0.0", port=0), rules)  # noqa: S104 - it is refused
    rules.keys.create("anna")
    bind(ServerSettings(host="0.0.0.0", port=0), rules).close()  # noqa: S104 - with a key


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    rules = AccessRules(keys=KeyStore(tmp_path))
    with bind(ServerSettings(port=0), rules) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            bind(ServerSettings(port=port), rules)


def test_json_of_a_key_has_no_digest(tmp_path: Path) -> None:
    key, _ = KeyStore(tmp_path).create("anna")
    assert "digest" not in json.dumps(key.to_dict())


def test_small_pieces_are_sent_at_once(tmp_path: Path) -> None:
    with bind(ServerSettings(port=0), AccessRules(keys=KeyStore(tmp_path))) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # asyncio then sets TCP_NODELAY
