"""What all programs share: `--help` that teaches, one-line errors, exit statuses."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from minlm import locks, process, progress
from minlm.errors import MinlmError

LARGEST_SEED = 10**18  # below 2**63 with room for the seeds counted up from it


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, keeps the line breaks of the example."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ([], ""):  # 0 is worth showing
            return action.help
        return super()._get_help_string(action)


class _Store(argparse.Action):
    """Stores a value. A list may come in pieces, `--prompts=a --prompts=b`; the first replaces the default."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        given = getattr(namespace, self.dest)
        if self.nargs in ("+", "*"):
            values = [*([] if given is self.default else given), *map(_Parser.untied, values)]
        setattr(namespace, self.dest, _Parser.untied(values))


class _Parser(argparse.ArgumentParser):
    """Lets values begin with a dash, which argparse takes for flags: a prompt "-5 degrees", a file -a.txt."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register("action", None, _Store)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """What argparse does, after each value that begins with a dash was tied to its flag."""
        return super().parse_known_args(self._tied(sys.argv[1:] if args is None else args), namespace)

    def error(self, message: str) -> NoReturn:
        """One line, without the list of all flags."""
        self.exit(2, f"{self.prog}: error: {message}\n`{self.prog} --help` lists all flags.\n")

    def _tied(self, words: Sequence[str]) -> list[str]:
        """`--flag -value` as `--flag=-value`; in a list, only a flag or what looks like one (--a) ends the values."""
        made: list[str] = []
        flag, is_list, is_tied = "", False, False  # the flag whose values come now
        for index, word in enumerate(words):
            if word == "--" and (is_list or not flag):
                return [*made, *words[index:]]
            action = self._option_string_actions.get(word)
            if action is not None:
                flag = word if isinstance(action, _Store) and action.nargs in (None, "+", "*") else ""
                is_list, is_tied = action.nargs is not None, False
            elif is_list and (word.partition("=")[0] in self._option_string_actions or re.fullmatch(r"--\S*", word)):
                flag = ""
            elif flag and (is_tied or word.startswith("-")):
                if made[-1] == flag:
                    made.pop()
                word, is_tied = f"{flag}={word}", True
            made.append(re.sub("=--$", "=\0--", word))  # argparse drops a value "--"
            if action is None and not is_list:
                flag = ""
        return made

    @staticmethod
    def untied(value: Any) -> Any:
        """The value without what `_tied` added to it."""
        return value.replace("\0", "") if isinstance(value, str) else value


def whole(low: int, high: int) -> Callable[[str], int]:
    """A type of arguments: whole numbers from `low` to `high`, as in workflow/schemas/config.schema.yaml."""

    def parse(text: str) -> int:
        with suppress(ValueError):
            if low <= (number := int(text)) <= high:
                return number
        raise argparse.ArgumentTypeError(f"must be a whole number from {low:,} to {high:,}, not {text!r}")

    return parse


def real(low: float, high: float, *, above: bool = False, below: bool = False) -> Callable[[str], float]:
    """Likewise, for numbers; with `above` the lowest itself is excluded, with `below` the highest."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if low <= (number := float(text)) <= high and not ((above and number == low) or (below and number == high)):
                return number
        words = f"{'above' if above else 'from'} {low:g} {'and below' if below else 'to'} {high:g}"
        raise argparse.ArgumentTypeError(f"must be a number {words}, not {text!r}")

    return parse


def make_parser(program: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose help ends with an example; every program gets `--log_file`."""
    parser = _Parser(
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
        process.end_with_owner()
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
