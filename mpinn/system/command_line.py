"""What all commands have in common: errors are one line, and the exit status says whether the usage was wrong."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mpinn.system.errors import MpinnError, UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def print_error(error: BaseException) -> None:
    """Print the one line of an error on standard error."""
    text = str(error) if isinstance(error, MpinnError) else f"{type(error).__name__}: {error}"
    print(f"mpinn: error: {' '.join(text.split())}", file=sys.stderr, flush=True)


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Run the `main` of a command that needs no MPI and leave with its exit status."""
    try:
        sys.exit(main())
    except MpinnError as error:
        print_error(error)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
