"""Brings finished recordings from the folder that FreeSWITCH shares with the portal; deleted there once they are in."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import structlog
from django.db import DatabaseError, InterfaceError

from pbx.connectors.orders import Key
from pbx.connectors.portal import NotTakenError
from pbx.freeswitch.takes import is_complete, key_of

LOOK_EVERY = 1.0  # seconds
FILES_MAX = 10_000  # that are looked at in one go
SETTLED_AFTER = 60.0  # so long unchanged, a file that was never closed is taken as far as it goes

log = structlog.get_logger(__name__)


class Collector:
    """Looks at the folder again and again, so that nothing has to be remembered of what waits in it."""

    def __init__(self, is_over: Callable[[Key], bool], deliver: Callable[[Key, Path], Awaitable[bool]]) -> None:
        self.trouble = ""  # why what waits has to
        self._is_over = is_over
        self._deliver = deliver
        self._done: dict[Path, float] = {}  # delivered or not ours, but still there; with the time of its last change

    async def follow(self, folder: Callable[[], Path | None]) -> None:
        while True:
            if (where := folder()) is not None:
                await self.look(where)
            await asyncio.sleep(LOOK_EVERY)

    async def look(self, folder: Path) -> None:
        try:
            found = await asyncio.to_thread(_ours_in, folder)
            self._done = {path: changed for path, changed in self._done.items() if path in found}
            for path, changed in found.items():
                if self._done.get(path) != changed and await self._take(path, changed):
                    self._done[path] = changed
            self._note("")
        except (DatabaseError, InterfaceError, NotTakenError, OSError) as error:
            self._note(f"Recordings wait on FreeSWITCH: {str(error).strip()}")

    async def _take(self, path: Path, changed: float) -> bool:
        key = key_of(path.name)
        if key is None or not self._is_over(key):
            return False
        if not await asyncio.to_thread(is_complete, path) and time.time() - changed < SETTLED_AFTER:
            return False
        try:
            if await self._deliver(key, path):
                await asyncio.to_thread(path.unlink, missing_ok=True)
        except (DatabaseError, InterfaceError, NotTakenError, OSError):
            raise
        except Exception:  # a fault of ours: the file stays where it is, and the others are fetched
            log.exception("recording cannot be taken", file=path.name)
        return True

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning("recordings are not fetched", reason=trouble)
        self.trouble = trouble


def _ours_in(folder: Path) -> dict[Path, float]:
    found: dict[Path, float] = {}
    for path in _first(folder.iterdir()):
        if key_of(path.name) and path.is_file() and not path.is_symlink():
            found[path] = path.stat().st_mtime
    return found


def _first(paths: Iterable[Path]) -> Iterable[Path]:
    for number, path in enumerate(paths):
        if number == FILES_MAX:
            return
        yield path
