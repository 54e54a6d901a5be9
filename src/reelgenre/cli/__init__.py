"""The command line: thin modules that call the public API, each importing what it needs late.

Exit codes: 0 all fine, 1 nothing could be done, 2 wrong usage, 3 some files failed and the rest
was done, 130 interrupted, 143 told to end by SIGTERM.
"""

from __future__ import annotations

import logging
import os
import sys

from reelgenre.cli.app import app
from reelgenre.cli.exits import FAILED, INTERRUPTED, OK
from reelgenre.errors import ReelgenreError


def run(arguments: list[str]) -> int:
    """Run one command.

    Errors made for people are one line on standard error; anything else is a fault of this
    package and keeps its traceback.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.ERROR)
    try:
        app(arguments, prog_name="reelgenre")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else OK
    except KeyboardInterrupt:
        sys.stderr.write("reelgenre: interrupted; what was finished is kept.\n")
        return INTERRUPTED
    except ReelgenreError as error:
        sys.stderr.write(f"reelgenre: {error}\n")
        return FAILED
    except BrokenPipeError:
        # The reader of our output went away (`| head`). Python would complain once more when it
        # flushes at exit, so standard output goes nowhere from here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        sys.stderr.write(f"reelgenre: {error}. Check the path, its rights and the free space.\n")
        return FAILED
    return OK
