"""`python -m textrnn`."""

import sys

try:
    from textrnn.cli import app

    app()
except KeyboardInterrupt:  # before a command has begun
    sys.exit(130)
