"""`python -m server` is `parley`."""

import sys

from server.cli import main

if __name__ == "__main__":  # the load tester's processes import it too
    sys.exit(main())
