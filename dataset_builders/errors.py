"""The one kind of error that is the user's to mend."""


class UsageError(ValueError):
    """The input is at fault, not the program: the message names value, what is right, what to do.

    The command line prints it without a traceback.
    """
