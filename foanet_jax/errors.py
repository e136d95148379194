"""The one error that bad input raises."""


class InputError(ValueError):
    """Input that cannot be used, with what is wrong, where, and what to do about it.

    `code` is a short stable word for programs ("missing-file", "zero-sigma", …); the message is for
    people and names the file, the value and the remedy.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
