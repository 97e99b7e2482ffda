"""The one exception that is meant for the person at the keyboard."""


class MinlmError(Exception):
    """Something a user can fix. The message names what is wrong, where, and what to do.

    Programs print it as one line and exit with status 1; there is no traceback.
    """
