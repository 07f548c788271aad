"""One typed configuration, merged from files, the environment and arguments.

Invariant: a `Config` that exists fits the schema, and the source of every value is known. An
unknown key, a value of a wrong type and an inline API key are errors that name the place; no
message contains a secret.
"""

from vanta.config.layers import Origin
from vanta.config.load import Explanation, Loaded, load, ready_configurations, user_file
from vanta.config.schema import (
    Config,
    GateConfig,
    MemoryConfig,
    PolicyConfig,
    SamplingConfig,
    TrackConfig,
)

__all__ = [
    "Config",
    "Explanation",
    "GateConfig",
    "Loaded",
    "MemoryConfig",
    "Origin",
    "PolicyConfig",
    "SamplingConfig",
    "TrackConfig",
    "load",
    "ready_configurations",
    "user_file",
]
