"""Limits of the process that leave too little to start: a clear error at once, and no crash."""

from __future__ import annotations

import errno

import pytest

from tests.cli.stage import Stage
from tests.cli.test_streams import run
from vanta import EngineError, ErrorKind, refused_resource
from vanta.errors import InternalError


@pytest.mark.parametrize("megabytes", [250, 300, 340, 400, 500])
def test_too_little_address_space_is_named_with_its_limit(stage: Stage, megabytes: int) -> None:
    code, out, err = run(stage, f"ulimit -v {megabytes * 1000}; $V ask 'echo hi'")
    assert (code, out) == (2, b"")
    assert f"may use {megabytes * 1.024:.0f} MB of address space ('ulimit -v')".encode() in err
    assert b"Raise the limit: `ulimit -v unlimited`" in err


def test_enough_address_space_is_enough(stage: Stage) -> None:
    code, out, _ = run(stage, "ulimit -v 4000000; $V ask 'echo hi'")
    assert (code, out) == (0, b"hi\n")


def test_too_few_files_are_named_with_their_limit(stage: Stage) -> None:
    code, _, err = run(stage, "ulimit -n 9; $V ask 'echo hi'")
    assert code in {1, 3}
    assert b"ulimit -n 9" in err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        ImportError("x.so: failed to map segment from shared object"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_of_the_system_is_no_fault_of_vanta(error: Exception) -> None:
    outer = ValueError("wrapped")
    outer.__cause__ = error
    for seen in (error, outer):
        assert "The operating system refused" in refused_resource(seen)
        assert "ulimit -n" in str(InternalError("it broke", seen))
        assert "report it" not in str(InternalError("it broke", seen))


def test_other_errors_are_no_refusals() -> None:
    assert refused_resource(ValueError("wrong")) == ""
    assert refused_resource(EngineError(ErrorKind.SERVER, "no", engine="e")) == ""
    assert "report it" in str(InternalError("it broke", ValueError("wrong")))
