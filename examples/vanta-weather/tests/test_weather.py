"""The toolset keeps vanta's contract: the conformance suite is vanta's, the toolset is ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import vanta_weather
from vanta_weather.toolset import FACTORY, MAX_BYTES, WeatherOptions

import vanta
from vanta.testing import ToolsetConformance

OSLO = {"name": "Oslo", "country": "Norway", "latitude": 59.9, "longitude": 10.7}


class Server(BaseHTTPRequestHandler):
    """Answers as Open-Meteo does; the names of some places make it fail."""

    def do_GET(self) -> None:
        """Answer one request."""
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        name = query.get("name", [""])[0]
        status = {"Teapot": 418, "Elsewhere": 302}.get(name, 200)
        body = json.dumps({"daily": {"unit": query.get("temperature_unit"), "days": [1.5]}})
        if path == "/places":
            found = [OSLO, OSLO][: int(query["count"][0])] if name == "Oslo" else []
            body = {
                "Broken": "{",
                "List": "[]",
                "Huge": json.dumps({"a": "x" * MAX_BYTES}),
            }.get(name, json.dumps({"results": found}))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/places?name=Oslo&count=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_args: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Yield the URL of a server on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def toolset(server: str, tmp_path: Path) -> vanta.Toolset:
    """Return a fresh toolset for each test."""
    options = WeatherOptions(
        places_url=f"{server}/places", forecast_url=f"{server}/forecast", unit="fahrenheit"
    )
    return FACTORY.create(options, vanta.ToolsetContext(tmp_path, tmp_path))


class TestWeather(ToolsetConformance):
    """Every rule of the contract."""

    calls: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "find_place": {"name": "Oslo"},
        "forecast": {"latitude": 59.9, "longitude": 10.7, "days": 2},
    }

    @pytest.fixture
    def toolset(self, toolset: vanta.Toolset) -> vanta.Toolset:
        """Return the toolset of this module."""
        return toolset


@pytest.mark.anyio
async def test_a_place_is_found_and_the_unit_is_the_configured_one(toolset: vanta.Toolset) -> None:
    context = vanta.ToolContext()
    found = await toolset.call("find_place", {"name": "Oslo", "limit": 1}, context)
    assert found.data == [OSLO]
    weather = await toolset.call("forecast", {"latitude": 1, "longitude": 2}, context)
    assert weather.data == {
        "unit": "fahrenheit",
        "daily": {"unit": ["fahrenheit"], "days": [1.5]},
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Atlantis", "no place is named 'Atlantis'"),
        ("Teapot", "status 418"),
        ("Elsewhere", "status 302"),
        ("Broken", "cannot be used"),
        ("List", "JSON object"),
        ("Huge", "fair size"),
    ],
)
async def test_whatever_the_server_does_the_model_reads_why(
    toolset: vanta.Toolset, name: str, words: str
) -> None:
    with pytest.raises(vanta.ToolError, match=words):
        await toolset.call("find_place", {"name": name}, vanta.ToolContext())


def test_the_hook_returns_the_factory() -> None:
    assert list(vanta_weather.vanta_toolsets()) == [FACTORY]
