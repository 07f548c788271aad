"""What is known of one plugin. Invariant: `reason` says why, whenever `status` is not "on"."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Status = Literal["on", "off", "failed"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin, as `vanta plugins list` shows it.

    name: of its entry point. module: what the entry point names. distribution and version: what
    was installed ("" for a plugin handed over in code). builtin: it came with vanta itself.
    reason: why it is off or failed. hooks: the hooks that it implements, known once it is on.
    """

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    builtin: bool = False
    status: Status = "off"
    reason: str = ""
    hooks: tuple[str, ...] = ()

    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}" if self.distribution else "passed in code"
        return f"{self.name!r} ({source}, {self.module})"

    def failed(self, reason: str) -> Plugin:
        """The same plugin, isolated for `reason`."""
        return dataclasses.replace(self, status="failed", reason=reason)

    def turned_on(self, hooks: tuple[str, ...]) -> Plugin:
        """The same plugin, on, with the hooks that it was found to implement."""
        return dataclasses.replace(self, status="on", reason="", hooks=hooks)


CORE = Plugin("vanta", "vanta", distribution="vanta", builtin=True, status="on")
