"""The toolset `files`: one folder, and nothing outside it.

Invariant: every path is opened step by step below the folder's descriptor, without following a
link (`root`), so no name and no race leads out.
"""

from vanta_tools.files.root import RootFolder, RootRules
from vanta_tools.files.toolset import FilesOptions, FilesToolset, create_files, why_files_off

__all__ = [
    "FilesOptions",
    "FilesToolset",
    "RootFolder",
    "RootRules",
    "create_files",
    "why_files_off",
]
