"""The command line: parse, call one library function, print."""

from thalweg.cli.app import main

__all__ = ["main"]
