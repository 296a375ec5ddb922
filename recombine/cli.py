"""The command line: one dict from command to function, and how errors and signals become exit codes."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from recombine import __version__
from recombine.commands.compare import compare
from recombine.commands.data import data
from recombine.commands.edit import edit
from recombine.commands.evaluate import demo, evaluate
from recombine.commands.tables import tables
from recombine.commands.train import train
from recombine.messages import command_line, process_number

COMMANDS = {
    "demo": demo, "data": data, "train": train, "edit": edit,
    "evaluate": evaluate, "compare": compare, "tables": tables,
}  # fmt: skip

OK, BAD_INPUT, BAD_USAGE, BROKEN_PIPE = 0, 1, 2, 141

HELP = """Take images apart into named codes, and put them together in new ways.

From a folder of labelled images to edited images:

    recombine data photos
    recombine train photos --attributes Smiling,Eyeglasses --out runs/photos
    recombine edit set runs/photos me.jpg --label Smiling=1 --out smiling
    recombine evaluate runs/photos
"""

EPILOGUE = """Exit codes: 0 done, 1 something given is wrong, 2 the command line is wrong,
130 stopped by Ctrl-C, 143 by SIGTERM. --debug shows where an error came from."""

APP = App(
    name="recombine",
    help=HELP,
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=__version__,
    default_parameter=Parameter(negative=()),
)
for place, (name, command) in enumerate(COMMANDS.items()):
    APP.command(command, name=name)
    APP[name].sort_key = place


def main(arguments: list[str] | None = None) -> int:
    """Run one command, of the process's own arguments when None is given; returns the exit code, as in the epilogue."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        with command_line():
            own = [argument for argument in arguments if argument != "--debug"]
            APP(own, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return fail(usage(error), BAD_USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return fail("stopped by Ctrl-C; what was finished is kept, and the same command again goes on from there", 130)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else OK
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        if debug:
            raise
        return fail(sentence(error), BAD_INPUT)
    return OK


def fail(message: str, code: int) -> int:
    """Say what went wrong on stderr, and where several processes work in which one; returns the exit code."""
    number = process_number()
    print(f"recombine{f' (process {number})' if number else ''}: {message}", file=sys.stderr)
    return code


def usage(error: CycloptsError) -> str:
    """What is wrong with a command line, and where to read how it should be."""
    message = str(error).rstrip(".")
    if isinstance(error, UnusedCliTokensError):
        message = f"nothing takes {' '.join(map(repr, error.unused_tokens or []))}"
    chain = " ".join(["recombine", *(error.command_chain or ())])
    return f"{message}; see {chain} --help"


def sentence(error: Exception) -> str:
    """An error as one sentence for people."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or f"{type(error).__name__}; run again with --debug to see where"


if __name__ == "__main__":
    sys.exit(main())
