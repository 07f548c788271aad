"""The tool `fetch` opens no connection to what is not public, however it is written."""

from __future__ import annotations

import ipaddress
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpcore2
import pytest

from tests.vanta_tools.corpus import INSIDE_URLS, NAMES
from tests.vanta_tools.pages import PageServer, serve_pages
from vanta import ToolContext, ToolResult
from vanta_tools.web.addresses import parse_url, public_problem
from vanta_tools.web.client import GuardedClient, WebRules
from vanta_tools.web.fetch import FetchOptions, FetchToolset

PUBLIC = "93.184.215.14"


class Network:
    """Stands between the client and the network: keeps what is resolved and connected to.

    server: where every connection ends that is let through. names: what the resolver answers; the
    last answer is repeated.
    """

    def __init__(
        self, server: PageServer | None, names: dict[str, list[list[str]]] | None = None
    ) -> None:
        self._port = server.port if server else 1
        self._names = names or {name: [answer] for name, answer in NAMES.items()}
        self.resolved: list[str] = []
        self.dialled: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        answers = self._names.get(host)
        if not answers:
            raise OSError("unknown")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def dial(self, address: str, port: int) -> httpcore2.AsyncNetworkStream:
        self.dialled.append((address, port))
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self._port)


async def fetch(
    url: str, network: Network, rules: WebRules | None = None, options: FetchOptions | None = None
) -> ToolResult:
    client = GuardedClient(rules or WebRules(), network.resolve, network.dial)
    toolset = FetchToolset(options or FetchOptions(), client)
    return await toolset.call("fetch", {"url": url}, ToolContext())


def test_the_corpus_is_large() -> None:
    assert len(set(INSIDE_URLS)) == len(INSIDE_URLS) >= 60


@pytest.mark.anyio
@pytest.mark.parametrize("url", INSIDE_URLS, ids=ascii)
async def test_no_connection_is_opened_to_what_is_inside(url: str) -> None:
    network = Network(None)
    result = await fetch(url, network)
    assert result.is_error
    assert network.dialled == []


@pytest.mark.anyio
@pytest.mark.parametrize("url", INSIDE_URLS, ids=ascii)
async def test_no_redirect_leads_inside(url: str, pages: PageServer) -> None:
    location = url.encode("utf-8", "surrogatepass").decode("latin-1")
    if any(character in location for character in "\r\n\x00"):
        location = location.translate({13: None, 10: None, 0: None})
    pages.add("/start", status=302, headers={"Location": location})
    pages.add("/", body="the page behind a redirect to the same server")
    network = Network(pages)
    rules = WebRules(cross_hosts=True)
    await fetch("http://public.example/start", network, rules)
    assert {address for address, _ in network.dialled} == {PUBLIC}


@pytest.mark.anyio
async def test_a_public_page_is_fetched_from_the_address_that_was_checked(
    pages: PageServer,
) -> None:
    pages.add("/page", body="hello")
    network = Network(pages)
    result = await fetch("http://public.example/page", network)
    assert (result.text, result.is_error) == ("hello", False)
    assert network.dialled == [(PUBLIC, 80)]
    assert pages.requests[0].headers["Host"] == "public.example"


@pytest.mark.anyio
async def test_a_name_is_resolved_once_for_each_connection(pages: PageServer) -> None:
    pages.add("/page", body="hello")
    network = Network(pages, {"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    first = await fetch("http://rebind.example/page", network)
    assert not first.is_error
    assert network.resolved == ["rebind.example"]
    second = await fetch("http://rebind.example/page", network)
    assert second.is_error
    assert network.dialled == [(PUBLIC, 80)]


@pytest.mark.anyio
async def test_a_redirect_to_the_same_name_is_checked_again(pages: PageServer) -> None:
    pages.add("/start", status=302, headers={"Location": "/secret"})
    pages.add("/secret", body="secret")
    network = Network(pages, {"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    result = await fetch("http://rebind.example/start", network)
    assert result.is_error
    assert "127.0.0.1" in result.text
    assert network.dialled == [(PUBLIC, 80)]


@pytest.mark.anyio
async def test_one_inside_address_among_public_ones_is_enough_to_refuse() -> None:
    network = Network(None, {"mixed.example": [[PUBLIC, "192.168.0.1"]]})
    assert (await fetch("http://mixed.example/", network)).is_error
    assert network.dialled == []


@pytest.mark.anyio
async def test_a_redirect_to_another_host_is_named_and_not_followed(pages: PageServer) -> None:
    pages.add("/start", status=302, headers={"Location": "http://other.example/x"})
    network = Network(pages)
    result = await fetch("http://public.example/start", network)
    assert result.data == {"status": 302, "leads_to": "http://other.example/x"}
    assert len(network.dialled) == 1


@pytest.mark.anyio
async def test_a_host_of_the_configuration_is_reached_but_not_by_a_redirect_from_outside(
    pages: PageServer,
) -> None:
    pages.add("/page", body="intranet")
    pages.add("/start", status=302, headers={"Location": "http://inside.example/page"})
    rules = WebRules(inside=frozenset({"inside.example"}), cross_hosts=True)
    network = Network(pages)
    assert (await fetch("http://inside.example/page", network, rules)).text == "intranet"
    network = Network(pages)
    result = await fetch("http://public.example/start", network, rules)
    assert result.is_error
    assert network.dialled == [(PUBLIC, 80)]


@pytest.mark.anyio
async def test_an_inside_host_with_a_port_is_that_port_alone(pages: PageServer) -> None:
    pages.add("/", body="intranet")
    rules = WebRules(inside=frozenset({"inside.example:8080"}))
    network = Network(pages)
    assert (await fetch("http://inside.example:8080/", network, rules)).text == "intranet"
    assert (await fetch("http://inside.example/", network, rules)).is_error
    assert (await fetch("http://inside.example:8081/", network, rules)).is_error
    assert network.dialled == [("10.1.2.3", 8080)]


@pytest.mark.anyio
async def test_the_proxy_of_the_environment_is_not_used(
    pages: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.add("/page", body="hello")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    network = Network(pages)
    assert (await fetch("http://public.example/page", network)).text == "hello"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("HTTP://Public.Example:80/a?b#c", "http://public.example/a?b"),
        ("http://public.example", "http://public.example/"),
        ("http://public.example?x=1", "http://public.example/?x=1"),
        ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4"),
        ("https://[2606:4700:4700::1111]:443/", "https://[2606:4700:4700::1111]/"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://my_host.example/", "http://my_host.example/"),
    ],
)
def test_a_url_has_one_plain_form(url: str, shown: str) -> None:
    assert str(parse_url(url)) == shown


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::200e"]
)
def test_public_addresses_are_public(text: str) -> None:
    assert public_problem(ipaddress.ip_address(text)) == ""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://ｐublic.example/x", "http://public.example/x"),  # noqa: RUF001
        ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4"),
        ("http://public。example?x", "http://public.example/?x"),
    ],
)
async def test_a_host_has_one_spelling_so_that_rules_see_it(url: str, plain: str) -> None:
    network = Network(None)
    result = await fetch(url, network)
    assert result.is_error
    assert result.text == f"Write the host in ASCII: {plain!r}."
    assert network.dialled == []


# Encrypted connections.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate of `public.example`, signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    key, made, both = folder / "key", folder / "made", folder / "both"
    subject = ("-subj", "/CN=public.example", "-addext", "subjectAltName=DNS:public.example")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    command = (*new, "-nodes", "-days", "2", *subject, "-keyout", str(key), "-out", str(made))
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(key.read_text() + made.read_text())
    return both


@pytest.fixture
def encrypted(certificate: Path) -> Iterator[PageServer]:
    """Run a web server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serve_pages(context) as server:
        yield server


async def fetch_trusting(url: str, network: Network, certificate: Path) -> ToolResult:
    trusted = ssl.create_default_context(cafile=str(certificate))
    rules = WebRules(cross_hosts=True)
    client = GuardedClient(rules, network.resolve, network.dial, trusted)
    return await FetchToolset(FetchOptions(), client).call("fetch", {"url": url}, ToolContext())


@pytest.mark.anyio
async def test_the_certificate_must_be_that_of_the_name(
    encrypted: PageServer, certificate: Path
) -> None:
    encrypted.add("/", body="hello")
    names = {"public.example": [[PUBLIC]], "other.example": [[PUBLIC]]}
    network = Network(encrypted, names)
    result = await fetch_trusting("https://public.example/", network, certificate)
    assert result.text == "hello"
    assert network.dialled == [(PUBLIC, 443)]
    other = await fetch_trusting("https://other.example/", network, certificate)
    assert other.is_error
    assert "certificate" in other.text.lower()
    unknown = await fetch("https://public.example/", network)
    assert unknown.is_error
    assert len(encrypted.requests) == 1


@pytest.mark.anyio
async def test_no_redirect_leads_from_https_to_http(
    encrypted: PageServer, certificate: Path
) -> None:
    encrypted.add("/", status=302, headers={"Location": "http://public.example/"})
    network = Network(encrypted)
    result = await fetch_trusting("https://public.example/", network, certificate)
    assert result.is_error
    assert "from https to http" in result.text
    assert network.dialled == [(PUBLIC, 443)]
