"""The one error the lab reports to its user."""


class LabError(Exception):
    """What failed, why, and what to do next. `code` becomes the exit code.

    Codes are those of `ringvault`: 1 failed, 2 usage, 5 not found, 6 conflict, 9 a dependency cannot be reached.
    """

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code
