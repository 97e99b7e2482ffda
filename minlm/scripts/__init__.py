"""One small program for each rule of the workflow, and those for people."""

import sys
from types import TracebackType


def _show_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an exception as Python does, but Ctrl-C during the imports as one line."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _show_exception
