"""One typed configuration, merged from files, the environment and arguments.

Invariant: a `Config` that exists fits the schema, and the source of every value is known. An
unknown key, a value of a wrong type and an inline API key are errors that name the place; no
message contains a secret.
"""

from vanta.config.layers import Origin, Setting
from vanta.config.load import Explanation, Loaded, load, ready_configurations, user_file
from vanta.config.mcp_tables import McpConfig, McpServerConfig
from vanta.config.policy_tables import GateConfig, PolicyConfig
from vanta.config.project import ProjectFolder, find_project
from vanta.config.schema import Config, MemoryConfig
from vanta.config.tables import SamplingConfig, ToolsConfig, TrackConfig
from vanta.config.trust import IgnoredSetting, ProjectTrust, trust_in
from vanta.config.trust_rules import RULES, KeyRule
from vanta.config.trust_store import (
    TrustedFolder,
    add_trust,
    revoke_trust,
    trust_file,
    trusted_folders,
)

__all__ = [
    "RULES",
    "Config",
    "Explanation",
    "GateConfig",
    "IgnoredSetting",
    "KeyRule",
    "Loaded",
    "McpConfig",
    "McpServerConfig",
    "MemoryConfig",
    "Origin",
    "PolicyConfig",
    "ProjectFolder",
    "ProjectTrust",
    "SamplingConfig",
    "Setting",
    "ToolsConfig",
    "TrackConfig",
    "TrustedFolder",
    "add_trust",
    "find_project",
    "load",
    "ready_configurations",
    "revoke_trust",
    "trust_file",
    "trust_in",
    "trusted_folders",
    "user_file",
]
