"""Tools above their contract: which there are, who may call them, and how often.

    registry = ToolRegistry({"weather": FunctionToolset("weather", [forecast])})
    for offered in await registry.offered():
        ...
    result = await registry.call(offered, read_arguments(text, offered.tool.parameters), context)

The contract itself (`vanta.Tool`, `vanta.Toolset`) is all that a plugin needs. Invariant: a toolset
only runs calls; every decision about a call is made in this room. Names are imported when they are
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.tools.arguments import canonical, check_arguments, read_arguments, schema_problem
    from vanta.tools.functions import FunctionToolset, tool
    from vanta.tools.opening import open_toolsets
    from vanta.tools.registry import OfferedTool, ToolRegistry, tool_problem
    from vanta.tools.results import READ_RESULT, ResultPages, as_data, result_of, write_result

_NAMES = {
    ".arguments": "canonical check_arguments read_arguments schema_problem",
    ".functions": "FunctionToolset tool",
    ".opening": "open_toolsets",
    ".registry": "OfferedTool ToolRegistry tool_problem",
    ".results": "READ_RESULT ResultPages as_data result_of write_result",
}

__all__ = [
    "READ_RESULT",
    "FunctionToolset",
    "OfferedTool",
    "ResultPages",
    "ToolRegistry",
    "as_data",
    "canonical",
    "check_arguments",
    "open_toolsets",
    "read_arguments",
    "result_of",
    "schema_problem",
    "tool",
    "tool_problem",
    "write_result",
]


__getattr__ = lazy_front(__name__, _NAMES)
