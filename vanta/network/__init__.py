"""What every client of an HTTP server needs: the environment's proxies, and requested waits.

Invariant: pure functions of their arguments, the environment and the clock; nothing is connected.
"""

from __future__ import annotations

from vanta.network.proxies import EnvironmentProxy, is_loopback, proxy_for
from vanta.network.retry_after import retry_after_s

__all__ = ["EnvironmentProxy", "is_loopback", "proxy_for", "retry_after_s"]
