"""Peers in an environment of their own, because vanta does not need them: litellm, pydantic-ai.

Invariant: a peer runs in another process. A missing or broken peer is reported (`NoPeer`) and never
fails the benchmark.
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
    "no peer: {package} is not installed. python -m venv peer && peer/bin/pip install {package}, "
    "then --peer-python peer/bin/python"
)
_SCRIPTS = Path(__file__).parent / "peers"
_TIMEOUT_S = 300.0


class NoPeer(Exception):  # noqa: N818 - not an error: the figure has no peer
    """The peer could not be measured; the message states the reason and what to do."""


def measure(
    script: str, *arguments: str, settings: Settings, package: str = "litellm"
) -> dict[str, Any]:
    """Run `peers/SCRIPT.py` and return the JSON object that it prints.

    :param script: the name of the script without its suffix.
    :param arguments: the arguments of the script.
    :param settings: the settings with the interpreter of the peer.
    :param package: the distribution that the script needs.
    :returns: the parsed object.
    :raises NoPeer: if the package is not installed or fails.
    """
    command = [str(_python(settings, package)), "-P", str(_SCRIPTS / f"{script}.py"), *arguments]
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
        raise NoPeer(f"no peer: {package} could not be measured ({error})") from error
    reason = (process.stderr.strip().splitlines() or ["no output"])[-1]
    if "No module named" in reason and package.split("-", maxsplit=1)[0] in reason:
        raise NoPeer(HOW_TO_GET_IT.format(package=package))
    raise NoPeer(f"no peer: {package} could not be measured ({reason})")


def _python(settings: Settings, package: str) -> Path:
    if settings.peer_python is not None:
        return settings.peer_python
    if importlib.util.find_spec(package.removesuffix("-slim").replace("-", "_")) is None:
        raise NoPeer(HOW_TO_GET_IT.format(package=package))
    return Path(sys.executable)
