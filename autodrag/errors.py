"""The error that users can cause."""


class InputError(ValueError):
    """Bad input from the user: one sentence that names the thing, what was expected and what to do.

    Scripts print the sentence and exit with status 2; everything else is a bug and keeps its traceback.
    """
