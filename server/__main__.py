"""`python -m server` is `parley`."""

import sys

from server.cli import main

sys.exit(main())
