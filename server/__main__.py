"""`python -m server` runs the `parley` command."""

import sys

from server.cli import main

if __name__ == "__main__":  # worker processes of `parley load` import this module too
    sys.exit(main())
