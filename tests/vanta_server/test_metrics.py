"""`/metrics`: what turns, legs, calls and requests add to it, and what it never shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

import vanta
from tests.runtime.home import open_scripted
from tests.vanta_server.served import Served, ask, served
from vanta.testing import Fail, Hang, ScriptedEngine
from vanta_server.commands import app
from vanta_server.metrics import Metrics

pytestmark = pytest.mark.anyio

DEPLOY = Path(__file__).parents[2] / "deploy"
SECRET = "Zanzibarquay"
Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(text: str) -> Samples:
    """Return the value of each metric and its labels' values, sorted by the labels' names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def measured(server: Served) -> Samples:
    page = await server.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    return samples(page.text)


async def test_a_race_adds_its_turn_its_legs_and_its_cost(tmp_path: Path) -> None:
    prices: dict[str, Any] = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 1000.0}
    async with served(
        tmp_path, api=ScriptedEngine("one two"), tracks={"api": prices}, policy="api"
    ) as server:
        assert (await server.post(ask("Hello"))).status_code == 200
        found = await measured(server)
        model = server.runtime.tracks["api"].engine.model
    assert found["vanta_turns_total", ("api", "answered")] == 1
    assert found["vanta_legs_total", (model, "won", "api")] == 1
    assert found["vanta_tokens_total", (model, "api", "output")] == 2
    assert found["vanta_cost_usd_total", (model, "api")] == pytest.approx(0.002)
    assert found["vanta_turn_duration_seconds_count", ("api",)] == 1
    assert found["vanta_first_content_seconds_count", (model, "api")] == 1
    assert found["vanta_http_requests_total", ("/v1/chat/completions", "200")] == 1
    assert found["vanta_http_requests_running", ()] == 1  # the one that reads the metrics
    assert found["process_resident_memory_bytes", ()] > 0


async def test_takeovers_failures_and_refusals_are_counted(tmp_path: Path) -> None:
    failing = ScriptedEngine("one ", Fail(vanta.ErrorKind.NETWORK))
    async with served(
        tmp_path, api=failing, local=ScriptedEngine("one two"), policy="prefer"
    ) as server:
        assert (await server.post(ask("Hello"))).status_code == 200
        assert (await server.post(ask("Hello", model="vanta/api"))).status_code == 502
        assert (await server.post({"model": "none"})).status_code == 400
        assert (await server.get("/nothing/here")).status_code == 404
        found = await measured(server)
    assert found["vanta_takeovers_total", ("api", "local")] == 1
    assert found["vanta_turns_total", ("api", "failed")] == 1
    requests = {key[1]: value for key, value in found.items() if key[0].endswith("requests_total")}
    assert requests["/v1/chat/completions", "502"] == 1
    assert requests["/v1/chat/completions", "400"] == 1
    assert requests["other", "404"] == 1


async def test_a_private_turn_shows_only_that_it_happened(tmp_path: Path) -> None:
    metrics = Metrics()
    async with open_scripted(tmp_path, local=ScriptedEngine("Hi"), policy="local") as runtime:
        before = set(samples(bytes(metrics.page().body).decode()))
        with runtime.observing(metrics):
            await runtime.session(SECRET).ask(SECRET, private=True)
        await runtime.session("s").ask("After the block.")
    page = bytes(metrics.page().body).decode()
    new = {key for key in set(samples(page)) - before if not key[0].endswith("_created")}
    assert new == {("vanta_turns_total", ("private", ""))}
    assert SECRET not in page


async def test_no_text_of_a_client_becomes_a_label(tmp_path: Path) -> None:
    async with served(tmp_path, local=ScriptedEngine("Hi")) as server:
        _, secret = server.keys.create(SECRET)
        headers = {"authorization": f"Bearer {secret}", "x-vanta-session": SECRET}
        await server.post(ask(SECRET, user=SECRET), headers=headers)
        await server.post(ask("Hello", model=SECRET), headers=headers)
        await server.get(f"/{SECRET}", headers=headers)
        page = await server.get("/metrics", headers=headers)
        refused = await server.get("/metrics")
    assert (page.status_code, refused.status_code) == (200, 401)
    assert SECRET not in page.text
    assert secret not in page.text


async def test_a_client_that_leaves_is_no_longer_running(tmp_path: Path) -> None:
    engine = ScriptedEngine(Hang())
    async with served(tmp_path, local=engine) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.post, ask("Hello"))
            await engine.run(0)
            tasks.cancel_scope.cancel()
        left = ("vanta_http_requests_total", ("/v1/chat/completions", "none"))
        found: Samples = {}
        for _ in range(1000):
            if left in (found := await measured(server)):
                break
        assert found["vanta_http_requests_running", ()] == 1


def test_the_dashboard_reads_metrics_that_exist() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for query in queries for name in re.findall(r"(?:vanta|process)_\w+", query)}
    known = {family.name for family in Metrics().registry.collect()}
    assert len(names) > 8
    assert {re.sub(r"_(total|bucket)$", "", name) for name in names} <= known


@pytest.mark.parametrize("name", ["vanta.service", "Containerfile"])
def test_what_is_deployed_starts_the_server_with_options_that_exist(name: str) -> None:
    text = (DEPLOY / name).read_text()
    if name == "Containerfile":
        (line,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
        command = json.loads(line)
    else:
        (line,) = re.findall(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)
        command = shlex.split(line)
    assert command[0] == "serve"
    assert CliRunner().invoke(app, [*command[1:], "--help"]).exit_code == 0
