"""What can go wrong where recordings are kept, each in a sentence that a person may read."""


class VaultError(Exception):
    """`code` is stable, `message` is for people and names no path, key or address."""

    code = "store_failed"
    message = "The store of the recordings failed."

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)
        self.message = message or self.message


class StoreFullError(VaultError):
    code = "store_full"
    message = "The store of the recordings is full."


class StoreForbiddenError(VaultError):
    code = "store_forbidden"
    message = "The portal may not write to the store of the recordings."


class StoreUnavailableError(VaultError):
    code = "store_unavailable"
    message = "The store of the recordings does not answer."


class GoneError(VaultError):
    code = "file_gone"
    message = "The file of this recording is no longer in the store."


class DamagedError(VaultError):
    code = "file_damaged"
    message = "The file of this recording was changed or cut off in the store."


class KeyGoneError(VaultError):
    code = "key_gone"
    message = "The key of this recording was deleted, or is not known to this installation."
