"""What a verb refuses although each value by itself is fine; a wrong value is Django's ValidationError."""


class RefusedError(Exception):
    """The request meets a state that forbids it. `code` is stable, the message is a sentence for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StaleError(RefusedError):
    """Somebody else saved meanwhile."""

    def __init__(self) -> None:
        super().__init__(
            "changed_meanwhile",
            "Somebody else changed this meanwhile. Nothing was saved: look at the present values and save again.",
        )
