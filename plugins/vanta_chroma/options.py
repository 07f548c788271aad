"""What `memory.index_options` may hold for the index `chroma`."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ChromaOptions(BaseModel):
    """Where the vectors are, and how long anything may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(
        default=None,
        description="a server started with `chroma run`, as http://HOST:PORT, for many processes; "
        "None: files of this process alone",
    )
    trusted: bool = Field(
        default=False,
        description="whether a server on another machine may have the vectors of private turns",
    )
    timeout_s: float = Field(
        default=30.0, gt=0, le=3600, description="what one request may take; then Chroma is ended"
    )

    @field_validator("url")
    @classmethod
    def _has_a_host(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
                raise ValueError("it has to be a URL such as http://127.0.0.1:8000")
            _ = parts.port  # raises ValueError for one that is no number
        return url

    @property
    def may_have_private(self) -> bool:
        """Whether vectors of private turns may go where these options point."""
        return self.trusted or self.url is None or _is_here(urlsplit(self.url).hostname or "")


def _is_here(host: str) -> bool:
    """Whether a host is surely this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
