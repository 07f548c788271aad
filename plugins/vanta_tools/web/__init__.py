"""The toolsets `fetch` and `search`: pages of the web, through a guarded client.

Invariant: no connection is opened to an address that is not public, unless the configuration names
the host. What is checked is the address that is connected to, after every redirect (`client`).
"""

from vanta_tools.web.fetch import FetchOptions, FetchToolset, create_fetch
from vanta_tools.web.search import SearchOptions, SearchToolset, create_search, why_search_off

__all__ = [
    "FetchOptions",
    "FetchToolset",
    "SearchOptions",
    "SearchToolset",
    "create_fetch",
    "create_search",
    "why_search_off",
]
