"""The error for invalid user input."""


class InputError(ValueError):
    """Invalid user input. The message is one sentence: what is wrong, what was expected and what to do.

    Scripts print the message and exit with status 2; other exceptions are bugs and keep their traceback.
    """
