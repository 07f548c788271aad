"""`python -m vanta`: the same as the command `vanta`.

Python puts the working directory before all others, where a stranger's folder could have a module
with the name of a library, or the metadata of a plugin. It is taken away before anything else is
imported; `python -P -m vanta` has never had it. An empty part of PYTHONPATH, as in `lib:`, means
the working directory, too, mostly by accident: it is taken away, a part that names it stays.
"""

import os
import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parents[1])
CWD = str(Path.cwd())
NAMED = {
    os.path.realpath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part
}
if CWD not in {HERE, *NAMED}:
    sys.path[:] = [part for part in sys.path if part and os.path.realpath(part) != CWD]

from vanta.cli import main  # noqa: E402 - see above

if __name__ == "__main__":
    sys.exit(main())
