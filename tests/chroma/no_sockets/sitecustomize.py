"""Loaded by every Python that has this folder in PYTHONPATH.

The kernel (seccomp) kills the process when any library or thread of it tries to open a socket.
"""

from __future__ import annotations

import ctypes
import platform

_NUMBER = {"x86_64": 41, "aarch64": 198}[platform.machine()]
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06


class _Step(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.POINTER(_Step)))


_steps = (_Step * 4)(
    _Step(_LOAD, 0, 0, 0),  # the number of the system call
    _Step(_JUMP_EQUAL, 0, 1, _NUMBER),
    _Step(_RETURN, 0, 0, _KILL),
    _Step(_RETURN, 0, 0, _ALLOW),
)
_libc = ctypes.CDLL(None, use_errno=True)
if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.prctl(
    _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(4, _steps)), 0, 0
):
    raise OSError(ctypes.get_errno(), "no filter could be set")
