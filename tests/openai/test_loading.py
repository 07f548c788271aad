"""The SDK is heavy: it is imported late, in a worker thread; if it is missing, an error says so."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.openai.support import answer_of, engine_at
from vanta import install_hint
from vanta.errors import EngineError, ErrorKind

HINT = install_hint("openai")


def run_python(code: str) -> str:
    """Return what `code` prints in a fresh interpreter."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


def test_calling_the_hook_for_engines_does_not_import_the_sdk() -> None:
    loaded = run_python(
        """
        import sys, vanta_openai
        [factory] = vanta_openai.vanta_engines()
        factory.off(factory.options())
        sdk = ("openai", "httpx2", "httpcore2")
        print(factory.name, [name for name in sdk if name in sys.modules])
        """
    )
    assert loaded == "openai []"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_sdk_is_not_imported_in_the_thread_of_the_event_loop(backend: str) -> None:
    imported = run_python(
        f"""
        import sys, threading
        import anyio
        from tests.openai.support import answer_of, engine_at
        from vanta.testing import Upstream

        threads = {{}}

        class Watch:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("openai", "httpx2", "httpcore2", "truststore"):
                    threads.setdefault(threading.current_thread(), []).append(name)

        sys.meta_path.insert(0, Watch())

        async def main():
            async with Upstream() as upstream, engine_at(upstream.base_url) as engine:
                await answer_of(engine)

        anyio.run(main, backend={backend!r})
        on_the_loop = threads.pop(threading.main_thread(), [])
        print(on_the_loop, sum("openai" in names for names in threads.values()))
        """
    )
    assert imported == "[] 1"


@pytest.mark.anyio
@pytest.mark.parametrize("missing", ["openai", "httpx2"])
async def test_a_missing_library_raises_an_error_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("vanta_openai.")]:
        if name.rpartition(".")[2] in ("transport", "stream", "errors"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    async with engine_at("http://127.0.0.1:1/v1") as engine:
        with pytest.raises(EngineError, match=re.escape(HINT)) as caught:
            await answer_of(engine)
    assert caught.value.kind is ErrorKind.MODEL_NOT_LOADED
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.anyio
async def test_an_sdk_that_cannot_be_imported_is_an_engine_error_and_no_health(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("vanta_openai.transport")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openai", None)
    async with engine_at("http://127.0.0.1:9/v1") as engine:
        with pytest.raises(EngineError, match="openai") as raised:
            await engine.load()
        health = await engine.health(force=True)
    assert raised.value.suggestion
    assert not health.ok
    assert "openai" in health.detail


@pytest.mark.anyio
async def test_a_client_that_cannot_be_built_is_an_engine_error_and_no_health(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("HTTPS_PROXY", "htp://proxy:xyz")
    async with engine_at("https://example.invalid/v1") as engine:
        with pytest.raises(EngineError) as raised:
            await engine.models()
        health = await engine.health(force=True)
    assert raised.value.suggestion
    assert not health.ok
