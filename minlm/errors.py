"""Errors that a user can fix."""

import importlib.util


class MinlmError(Exception):
    """An error that a user can fix. The message names what is wrong, where, and what to do.

    Programs print the message on one line, without a traceback, and exit with status 1.
    """


class DamagedFileError(MinlmError):
    """A file is damaged, or is not of the expected kind.

    Attributes:
        reason: the cause in a few words; the message contains it too.
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


def require(package: str, install: str, what: str) -> None:
    """Check that the optional package that `what` needs is installed. `install`: what pip installs for it.

    Raises:
        MinlmError: the package is missing; the message says how to install it.
    """
    if importlib.util.find_spec(package) is None:
        raise MinlmError(f"{what} needs the package {package}. Install it with: pip install '{install}'")
