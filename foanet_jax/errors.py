"""The one error that bad input raises."""


class InputError(ValueError):
    """Input that cannot be used, with what is wrong, where, and what to do about it.

    `code` is a short stable word for programs ("missing-file", "zero-sigma", …); the message is for
    people and names the file, the value and the remedy. It can be printed and saved whatever the file is called:
    bytes of a name that are not UTF-8 stand in it as escapes.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message.encode("utf-8", errors="backslashreplace").decode())
        self.code = code
