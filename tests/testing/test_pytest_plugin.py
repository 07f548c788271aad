"""The fixtures in a plugin author's own suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import pytest

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param
"""


def run(pytester: pytest.Pytester, test: str) -> pytest.RunResult:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test)
    # In a process of its own: in this one, pytester would unload half of pydantic afterwards.
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")


def test_the_upstream_fixture_is_a_running_server(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import anyio, pytest
        from vanta.testing import Behaviour

        @pytest.mark.anyio
        async def test_it(upstream):
            upstream.then(Behaviour.answer("yes"))
            port = int(upstream.base_url[17:-3])
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"GET /health HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")
                assert b"200" in await stream.receive()
        """,
    )
    result.assert_outcomes(passed=2)


def test_the_scripted_fixture_makes_engines_and_sees_a_stream_left_open(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
        import pytest
        from vanta.testing.conformance.hints import Hints, read_stream

        @pytest.mark.anyio
        async def test_closed(scripted):
            assert (await read_stream(scripted("yes"), Hints.request)).answer.text == "yes"

        kept = []

        @pytest.mark.anyio
        async def test_left_open(scripted):
            kept.append(scripted("yes").stream(Hints.request))
            await kept[-1].__aenter__()
        """,
    )
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*streams are still open*"])


def test_no_blocking_fails_a_test_that_blocks_the_loop(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        library="""
        import time

        def doze():
            time.sleep(0.001)
        """
    )
    result = run(
        pytester,
        """
        import anyio.to_thread, pytest, time
        import library

        pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_blocking")]

        async def test_bad():
            library.doze()

        async def test_good():
            time.sleep(0.001)
            await anyio.to_thread.run_sync(library.doze)
        """,
    )
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*time.sleep*library.py:4 in doze*"])


def test_the_runtime_fixture_opens_a_runtime_whose_tracks_are_scripted(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.anyio
        async def test_it(vanta_runtime, scripted, tmp_path):
            runtime = await vanta_runtime(local=scripted("yes"), policy="local", deadline_s=5)
            reply = await runtime.session("s").ask("hi")
            assert (reply.text, reply.track) == ("yes", "local")
            assert runtime.config.deadline_s == 5
            assert list(tmp_path.iterdir())
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_subclass_of_the_suite_is_collected_on_both_loops(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from vanta.testing import EngineConformance as Suite, ScriptedEngine

        class TestMine(Suite):
            lists_models = True

            @pytest.fixture
            async def engine(self):
                yield ScriptedEngine(name="")
        """,
    )
    result.stdout.fnmatch_lines(
        ["FAILED *test_it_has_a_name_and_a_model?asyncio?*", "FAILED *a_model?trio?*"]
    )


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, vanta.testing, vanta.testing.pytest_plugin as p;"
        "print([m for m in ('anyio', 'h11', 'pydantic', 'vanta.engine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported_and_the_list_is_sorted() -> None:
    import vanta.testing

    names = vanta.testing.__all__
    assert names == sorted(names)
    assert all(getattr(vanta.testing, name) for name in names)
    with pytest.raises(AttributeError, match="no attribute 'Mock'"):
        _ = vanta.testing.Mock
