"""`python -m nobuco`."""

from __future__ import annotations

import sys

from nobuco.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
