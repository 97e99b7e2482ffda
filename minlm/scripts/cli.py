"""What all programs share: `--help` that teaches, one-line errors, exit statuses."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from minlm import locks, process, progress
from minlm.errors import MinlmError


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, keeps the line breaks of the example."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ([], ""):  # 0 is worth showing
            return action.help
        return super()._get_help_string(action)


def make_parser(program: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose help ends with an example; every program gets `--log_file`."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--log_file", metavar="FILE", help="write all messages to this file too")
    return parser


def run(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None], argv: Sequence[str] | None
) -> None:
    """Parse `argv`, do the work; turn an error a user can fix into one line and exit status 1."""
    arguments = parser.parse_args(argv)
    try:
        progress.configure(arguments.log_file)
        locks.check_system()
        process.end_with_head()
        work(arguments)
    except (MinlmError, OSError) as error:
        progress.log.error(f"{parser.prog}: error: {describe(error)}")
        sys.exit(1)
    except KeyboardInterrupt:
        progress.log.error(f"{parser.prog}: interrupted")
        sys.exit(130)
    except Exception:
        progress.log.exception(f"{parser.prog}: unexpected error; please report it with these lines")
        sys.exit(1)


def describe(error: Exception) -> str:
    """One line for an error: `MinlmError` speaks for itself, `OSError` is given its file name."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fspath(error.filename)}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error)
