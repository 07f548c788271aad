"""The peer litellm, a widely used router, in its own environment because vanta does not need it.

Invariant: the peer runs in another process. A missing or broken peer is reported (`NoPeer`) and
never fails the benchmark.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .report import Settings

HOW_TO_GET_IT = (
    "no peer: litellm is not installed. python -m venv peer && peer/bin/pip install litellm, then "
    "--peer-python peer/bin/python"
)
_SCRIPTS = Path(__file__).parent / "peers"
_TIMEOUT_S = 300.0


class NoPeer(Exception):  # noqa: N818 - not an error: the figure has no peer
    """The peer could not be measured; the message states the reason and what to do."""


def measure(script: str, *arguments: str, settings: Settings) -> dict[str, Any]:
    """Run `peers/SCRIPT.py` and return the JSON object that it prints.

    :param script: the name of the script without its suffix.
    :param arguments: the arguments of the script.
    :param settings: the settings with the interpreter of the peer.
    :returns: the parsed object.
    :raises NoPeer: if litellm is not installed or fails.
    """
    command = [str(_python(settings)), "-P", str(_SCRIPTS / f"{script}.py"), *arguments]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            env=environment,
        )
        if process.returncode == 0:
            return dict(json.loads(process.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise NoPeer(f"no peer: litellm could not be measured ({error})") from error
    reason = (process.stderr.strip().splitlines() or ["no output"])[-1]
    missing = HOW_TO_GET_IT if "No module named 'litellm'" in reason else None
    raise NoPeer(missing or f"no peer: litellm could not be measured ({reason})")


def _python(settings: Settings) -> Path:
    if settings.peer_python is not None:
        return settings.peer_python
    if importlib.util.find_spec("litellm") is None:
        raise NoPeer(HOW_TO_GET_IT)
    return Path(sys.executable)
