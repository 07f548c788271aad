"""`python -m vanta`: the same as the command `vanta`."""

import sys

from vanta.cli import main

if __name__ == "__main__":
    sys.exit(main())
