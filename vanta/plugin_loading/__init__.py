"""Find, load, isolate and list plugins.

A plugin is found by an entry point of the group ``vanta``, or handed over in code. Invariant: no
plugin can break another one; what is in a `PluginSet` is known together with who brought it, and
the module of a plugin that is off is never imported.
"""

from vanta.plugin_loading.loader import GROUP, load
from vanta.plugin_loading.plugin import Plugin
from vanta.plugin_loading.plugin_set import PluginSet
from vanta.plugin_loading.registry import Registry

__all__ = ["GROUP", "Plugin", "PluginSet", "Registry", "load"]
