"""What all programs share: flags from the settings' schema, help with an example, one-line errors, exit statuses."""

import argparse
import difflib
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from minlm import locks, process, progress
from minlm.errors import MinlmError
from minlm.pipeline.settings import Schema, coerce, describe_type, find, fits, section, types

# Flags that have another name in similar programs, nanoGPT above all.
RENAMED = {
    "--n_layer": "--num_layers",
    "--n_head": "--num_heads",
    "--n_embd": "--d_model",
    "--block_size": "--context_length",
    "--learning_rate": "--lr_max",
    "--min_lr": "--lr_min",
    "--grad_clip": "--max_grad_norm",
    "--checkpoint_interval": "--save_interval",
    "--out": "--output",
}

# Flags of nlm-run's predecessor for which there is a command.
REPLACED = {
    "--count_only": "snakemake --cores 1 data/ancients/selection.csv --configfile workflow/presets/ancients.yaml",
}

Work = Callable[[argparse.Namespace], str | None]


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults that say something, and keeps the line breaks of description and example."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ([], ""):  # 0 says something
            return action.help
        if action.default is True:
            return f"{action.help} (default: true)"
        if isinstance(action.default, list):
            return f"{action.help} (default: {shlex.join(map(str, action.default))})"
        return super()._get_help_string(action)


class _Store(argparse.Action):
    """Stores a value, and its flag's name in `given`.

    A list given several times adds up, `--prompts=a --prompts=b`; the first replaces the default.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        before = getattr(namespace, self.dest)
        if self.nargs in ("+", "*"):
            values = [*([] if before is self.default else before), *map(_Parser.restored, values)]
        namespace.given = {*getattr(namespace, "given", ()), self.dest}
        setattr(namespace, self.dest, _Parser.restored(values))


class _Parser(argparse.ArgumentParser):
    """Accepts values that begin with a dash, which argparse takes for flags: a prompt "-5 degrees", a file -a.txt."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register("action", None, _Store)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Join each value that begins with a dash to its flag, then parse as argparse does."""
        return super().parse_known_args(self._joined(sys.argv[1:] if args is None else args), namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line, without the list of all flags; an unknown flag gets the name of the nearest one."""
        if unknown := re.match(r"unrecognized arguments: (--[\w-]+)", message):
            name = unknown[1].replace("-", "_").replace("__", "--", 1)
            near = difflib.get_close_matches(RENAMED.get(name, name), self._option_string_actions, n=1, cutoff=0.6)
            if name in REPLACED:
                message += f". Instead, run: {REPLACED[name]}"
            elif near:
                message += f". Did you mean {near[0]}?"
        self.exit(2, f"{self.prog}: error: {message}\n`{self.prog} --help` lists all flags.\n")

    def _joined(self, words: Sequence[str]) -> list[str]:
        """`--flag -value` as `--flag=-value`; in a list, only a flag or a word that looks like one (--a) ends it."""
        joined: list[str] = []
        flag, is_list, is_joined = "", False, False  # the flag that the next words are values of
        for index, word in enumerate(words):
            if word == "--" and (is_list or not flag):
                return [*joined, *words[index:]]
            action = self._option_string_actions.get(word)
            if action is not None:
                flag = word if isinstance(action, _Store) and action.nargs in (None, "+", "*") else ""
                is_list, is_joined = action.nargs is not None, False
            elif is_list and (word.partition("=")[0] in self._option_string_actions or re.fullmatch(r"--\S*", word)):
                flag = ""
            elif flag and (is_joined or word.startswith("-")):
                if joined[-1] == flag:
                    joined.pop()
                word, is_joined = f"{flag}={word}", True
            joined.append(re.sub("=--$", "=\0--", word))  # argparse drops a value "--"
            if action is None and not is_list:
                flag = ""
        return joined

    @staticmethod
    def restored(value: Any) -> Any:
        """The value without the mark that `_joined` added to it."""
        return value.replace("\0", "") if isinstance(value, str) else value


def value_of(schema: Schema) -> Callable[[str], Any]:
    """A `type` of argparse's: the values that a schema allows."""

    def parse(text: str) -> Any:
        value = coerce(text, schema)
        if fits(value, schema):
            return value
        raise argparse.ArgumentTypeError(f"must be {describe_type(schema)}, not {text!r}")

    return parse


def whole(low: int, high: int) -> Callable[[str], Any]:
    """Likewise: whole numbers from `low` to `high`, for flags that are no settings."""
    return value_of({"type": "integer", "minimum": low, "maximum": high})


def add_setting(group: Any, key: str, flag: str = "", *, metavar: str | None = None, **changes: Any) -> None:
    """Add the flag of a setting, as the schema states it.

    Args:
        group: a parser or one of its groups.
        key: dotted, for example "training.lr_max".
        flag: its name, if it is not that of the setting.
        metavar: a word for the value in the help.
        changes: what is different for this program, in the words of the schema: `default`, `minimum`, `description`.
    """
    stated = find(key) | changes
    item, kinds = stated.get("items", stated), types(stated)
    words = {"integer": "N", "number": "X", "string": "TEXT", "boolean": "true|false"}
    options: dict[str, Any] = {"default": stated["default"], "help": sentence(stated)}
    if item.get("enum"):
        options["choices"] = [value for value in item["enum"] if value is not None]
    else:
        item = {name: value for name, value in item.items() if name != "enum"}
        options |= {"type": value_of(item), "metavar": metavar or words[types(item)[0]]}
    if "array" in kinds:
        options["nargs"] = "+" if stated.get("minItems") else "*"
    if "boolean" in kinds:
        options |= {"nargs": "?", "const": True}
    group.add_argument(flag or f"--{key.rpartition('.')[2]}", **options)


def add_settings(group: Any, name: str, *names: str) -> None:
    """Add the flags of a section's settings, of all if none are named."""
    for setting in names or section(name):
        add_setting(group, f"{name}.{setting}")


def sentence(schema: Schema) -> str:
    """The description of a setting, as the help of a flag."""
    return " ".join(schema["description"].split()).removesuffix(".").replace("%", "%%")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`, which takes more names than the configuration, for example cuda:1."""
    add_setting(parser, "training.device", metavar="cpu|cuda|mps", enum=None)


def add_threads(parser: Any) -> None:
    """Add `--threads`."""
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads at most (default: one for each core)")


def make_parser(program: str, description: str | None, example: str) -> argparse.ArgumentParser:
    """A parser with `--log_file`, whose help ends with an example: flags and values that follow the program's name."""
    parser = _Parser(
        prog=program,
        description=description,
        epilog=f"example:\n  {program} {example}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--log_file", metavar="FILE", help="Also write all messages to this file")
    return parser


def program(
    build_parser: Callable[[], argparse.ArgumentParser], *, talks: bool = False
) -> Callable[[Work], Callable[..., None]]:
    """Decorate a program's work, a function of its arguments, so that it becomes `main(argv=None)`; see `run`."""

    def decorate(work: Work) -> Callable[..., None]:
        def main(argv: Sequence[str] | None = None) -> None:
            run(build_parser(), work, argv, talks=talks)

        return main

    return decorate


def run(parser: argparse.ArgumentParser, work: Work, argv: Sequence[str] | None, *, talks: bool = False) -> None:
    """Parse `argv` and do the work; log the message that it returns, if any, with the time it took.

    An error that a user can fix becomes one line and exit status 1. In a workflow, messages of a program that `talks`
    appear at the terminal while it runs; those of the others are in their log files only.
    """
    arguments = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        progress.configure(arguments.log_file, talks=talks)
        locks.check_system()
        process.end_with_owner()
        if message := work(arguments):
            progress.summarize(f"{message} in {progress.duration(time.perf_counter() - start)}")
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
    """One line for an error: the text of a `MinlmError`; the file and the reason of an `OSError`."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fspath(error.filename)}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error)
