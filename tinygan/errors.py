"""The one exception that means: what you gave us is wrong, and here is what to do."""


class InputError(ValueError):
    """Bad input from the user: a file, an option, a setting.

    Its message is a single line that says what is wrong and what to do. The command line prints it
    to stderr and exits with code 2; a traceback would only hide it.
    """
