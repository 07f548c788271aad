"""A runtime that was opened before a fork: every entry point of the child says what to do."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PRELUDE = """
    import os, pathlib, signal, sys, anyio
    from tests.runtime.home import open_scripted
    from vanta.errors import UsageError, VantaError
    from vanta.memory import Question, Scope
    from vanta.testing import ScriptedEngine

    folder = pathlib.Path(sys.argv[1])
    signal.alarm(40)  # a child that hangs must not keep the test waiting

    def wait_for(child):
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("child ended with", status)

    def attempt(name, function, *args):
        try:
            function(*args)
        except VantaError as error:
            assert "forked" in str(error) and "after the fork" in str(error), error
            print(name, "refused", flush=True)
        else:
            print(name, "went through", flush=True)
"""


def run_script(body: str, folder: Path) -> str:
    """Return what a program prints."""
    script = textwrap.dedent(PRELUDE) + textwrap.dedent(body)
    command = [sys.executable, "-W", "ignore", "-c", script, str(folder)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_call_of_the_facade_is_refused_at_once_in_a_child(tmp_path: Path) -> None:
    printed = run_script(
        """
        with open_scripted(folder, local=ScriptedEngine("fine")) as runtime:
            session = runtime.session("p")
            session.ask("hi")
            child = os.fork()
            if child == 0:
                attempt("ask", session.ask, "hi")
                attempt("stream", session.stream("hi").__enter__)
                attempt("history", session.history)
                attempt("clear", session.clear)
                attempt("recall", runtime.memory.recall, Question("x", Scope("default")))
                attempt("stats", runtime.memory.stats)
                attempt("spending", runtime.ledger.spending)
                attempt("warm_up", runtime.warm_up)
                attempt("portal", lambda: runtime.portal)
                os._exit(0)
            wait_for(child)
            print("parent:", session.ask("again").text)
        """,
        tmp_path,
    )
    assert "went through" not in printed
    assert printed.count("refused") == 9
    assert printed.endswith("child ended with 0\nparent: fine\n")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_asynchronous_call_is_refused_at_once_in_a_child(
    tmp_path: Path, backend: str
) -> None:
    printed = run_script(
        f"""
        async def main():
            async with open_scripted(folder, local=ScriptedEngine("fine")) as runtime:
                session = runtime.session("p")
                await session.ask("hi")
                child = os.fork()
                if child == 0:
                    async def enter():
                        async with session.stream("hi"):
                            pass
                    for name, function, *args in (
                        ("ask", session.ask, "hi"),
                        ("stream", enter),
                        ("history", session.history),
                        ("clear", session.clear),
                        ("warm_up", runtime.warm_up),
                        ("idle", runtime.idle),
                        ("stats", runtime.memory.stats),
                        ("spending", runtime.ledger.spending),
                    ):
                        def drive(function=function, args=args):
                            try:
                                function(*args).send(None)
                            except StopIteration:
                                pass
                        attempt(name, drive)
                    os._exit(0)
                wait_for(child)
                print("parent:", (await session.ask("again")).text)
        anyio.run(main, backend={backend!r})
        """,
        tmp_path,
    )
    assert "went through" not in printed
    assert printed.count("refused") == 8
    assert printed.endswith("child ended with 0\nparent: fine\n")


def test_a_child_leaves_the_context_and_ends_and_can_open_a_runtime_of_its_own(
    tmp_path: Path,
) -> None:
    printed = run_script(
        """
        try:
            with open_scripted(folder, local=ScriptedEngine("fine")) as runtime:
                session = runtime.session("p")
                session.ask("hi")
                child = os.fork()
                if child == 0:
                    session.ask("hi")
                wait_for(child)
                print("parent:", session.ask("again").text)
        except UsageError:
            with open_scripted(folder, local=ScriptedEngine("own")) as runtime:
                print("child:", runtime.session("c").ask("hi").text, flush=True)
            sys.exit(7)
        """,
        tmp_path,
    )
    assert printed == "child: own\nchild ended with 7\nparent: fine\n"
