"""The one exception that is meant for the person at the keyboard."""


class MinlmError(Exception):
    """Something a user can fix. The message names what is wrong, where, and what to do.

    Programs print it as one line and exit with status 1; there is no traceback.
    """


class DamagedFileError(MinlmError):
    """A file is damaged, or is not what it should be.

    Attributes:
        reason: why, in a few words; the message has it too.
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason
