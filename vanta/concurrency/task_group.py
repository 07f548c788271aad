"""A task group whose errors come out as themselves.

A task group of anyio wraps every error of its body and its tasks into an exception group, also
`SystemExit` and Ctrl-C, so a caller would have to know that a function uses one. Invariant: one
error leaves as itself; an exit or an interrupt takes precedence over the errors beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

INTERRUPTS = (KeyboardInterrupt, SystemExit)
"""What ends the program and is no error of the code that it passes through."""


@asynccontextmanager
async def open_task_group() -> AsyncIterator[TaskGroup]:
    """Open a task group: `async with open_task_group() as tasks`.

    For code whose body does not leave the function: a `yield` to a caller inside a task group ties
    the caller to one task.

    :raises BaseException: the error of the body or of a task; a group only for several errors.
    """
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        error = plain_error(group)
        raise error from error.__cause__


def plain_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that a task group should have raised.

    :param group: the error of a task group.
    :returns: the interrupt in the group, or its only error; otherwise the group itself.
    """
    cancelled = anyio.get_cancelled_exc_class()
    errors = [error for error in _leaves(group) if not isinstance(error, cancelled)]
    for error in errors:
        if isinstance(error, INTERRUPTS):
            return error
    return errors[0] if len(errors) == 1 else group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield the errors of nested groups; a group that is an error of vanta's own counts as one."""
    for error in group.exceptions:
        if type(error) in (BaseExceptionGroup, ExceptionGroup):
            assert isinstance(error, BaseExceptionGroup)  # noqa: S101 - for the type checker
            yield from _leaves(error)
        else:
            yield error
