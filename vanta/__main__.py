"""`python -m vanta`: the same as the command `vanta`.

Python puts the working directory before all others, where a stranger's folder could have a module
with the name of a library, or the metadata of a plugin. It is taken away before anything else is
imported; `python -P -m vanta` has never had it.
"""

import os
import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parents[1])
if sys.path and sys.path[0] in {"", os.getcwd()} and os.getcwd() != HERE:  # noqa: PTH109
    del sys.path[0]

from vanta.cli import main  # noqa: E402 - see above

if __name__ == "__main__":
    sys.exit(main())
