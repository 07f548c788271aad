"""One typed configuration: files < environment < arguments, and every value knows its source.

Invariant: a `Config` that exists fits the schema; a key that the schema does not know, a value of
a wrong type and an API key are errors that name the place; no secret is ever part of one.
"""

from vanta.config.explain import Explanation
from vanta.config.load import Loaded, load, ready, user_file
from vanta.config.origin import Origin
from vanta.config.schema import (
    BreakerConfig,
    BudgetConfig,
    Config,
    GateConfig,
    MemoryConfig,
    PluginsConfig,
    PolicyConfig,
    PrivacyConfig,
    SamplingConfig,
    TrackConfig,
)

__all__ = [
    "BreakerConfig",
    "BudgetConfig",
    "Config",
    "Explanation",
    "GateConfig",
    "Loaded",
    "MemoryConfig",
    "Origin",
    "PluginsConfig",
    "PolicyConfig",
    "PrivacyConfig",
    "SamplingConfig",
    "TrackConfig",
    "load",
    "ready",
    "user_file",
]
