"""`python -m textrnn`."""

from textrnn.cli import app

app()
