"""Find, load, isolate and list plugins.

A plugin is found by an entry point of the group ``vanta``, or passed in code. Invariant: no plugin
can break another one; every object in a `PluginSet` is known with the plugin that contributed it;
the module of a plugin that is off is never imported.
"""

from vanta.plugin_loading.loader import load
from vanta.plugin_loading.plugin_set import PluginSet
from vanta.plugin_loading.registry import Plugin, Registry

__all__ = ["Plugin", "PluginSet", "Registry", "load"]
