"""The one exception that means "you can put this right".

Every room derives its own error from it. A command prints such an error as a line and
exits with 1; any other exception is a defect of ours and keeps its traceback.
"""


class SerTransferError(ValueError):
    """What was given, what is allowed, and what to do next, in one message."""
