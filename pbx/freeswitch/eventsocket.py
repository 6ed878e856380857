"""One connection to the event socket: signs in, asks, and hands every event to its listener in order."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable

import structlog

from pbx.freeswitch.access import Access
from pbx.freeswitch.esl import BrokenStreamError, Frame, Message, Parser, encode, message_of

CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_TIMEOUT = 10.0
PING_EVERY = 15.0
_READ = 65536
_REFUSALS = ("-ERR", "-USAGE")

log = structlog.get_logger(__name__)


class EslError(Exception):
    """The event socket cannot be used; the text is a sentence that says why."""


class EslRefusedError(EslError):
    """It does not take the password, or nobody from this address."""


class CommandRefusedError(EslError):
    """FreeSWITCH answered that it will not, or cannot: `why` is its word for it."""

    def __init__(self, command: str, why: str) -> None:
        super().__init__(f"FreeSWITCH refused {command}: {why}.")
        self.why = why


class EventSocket:
    """A signed-in connection. `read()` must run for answers and events to come."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listen: Callable[[Message], None]
    ) -> None:
        self.malformed = 0  # events that were no JSON
        self.greeted = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._listen = listen
        self._parser = Parser()
        self._waiting: deque[asyncio.Future[str]] = deque()  # answers come in the order of the commands

    async def read(self) -> None:
        """Reads until the connection ends, which is an EslError. Nobody waits for an answer any longer."""
        try:
            while data := await self._reader.read(_READ):
                for frame in self._parser.feed(data):
                    self._take(frame)
        except BrokenStreamError as error:
            raise EslError(str(error)) from error
        finally:
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(EslError("The event socket connection broke."))
        raise EslError("FreeSWITCH closed the event socket connection.")

    async def api(self, command: str) -> str:
        """What FreeSWITCH answers; `-ERR` is a CommandRefusedError."""
        return await self.ask(f"api {command}", name=command.partition(" ")[0])

    async def ask(self, command: str, *, name: str = "") -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        name = name or command.partition(" ")[0]
        data = encode(command)
        self._waiting.append(future)
        try:
            self._writer.write(data)
            await self._writer.drain()
            async with asyncio.timeout(ANSWER_TIMEOUT):
                answer = await future
        except TimeoutError as error:
            self._writer.transport.abort()  # its answer would be taken for that of the next command
            raise EslError(f"FreeSWITCH did not answer {name} within {ANSWER_TIMEOUT:.0f} s.") from error
        except OSError as error:
            raise EslError("The event socket connection broke.") from error
        if answer.startswith(_REFUSALS):
            raise CommandRefusedError(name, answer.partition(" ")[2].strip().rstrip(".!") or answer)
        return answer

    def _take(self, frame: Frame) -> None:
        match frame.content_type:
            case "text/event-json":
                if (message := message_of(frame.body)) is None:
                    self.malformed += 1
                    log.warning("event is no JSON", bytes=len(frame.body))
                else:
                    self._listen(message)
            case "auth/request":
                self.greeted.set()
            case "command/reply":
                self._answer(frame.headers.get("reply-text", ""))
            case "api/response":
                self._answer(frame.body.decode("utf-8", "replace").strip())
            case "text/rude-rejection":
                raise EslRefusedError(
                    "FreeSWITCH lets nobody in from the portal's address: see apply-inbound-acl in"
                    " event_socket.conf.xml."
                )
            case "text/disconnect-notice":
                raise EslError("FreeSWITCH closed the event socket connection.")

    def _answer(self, answer: str) -> None:
        if self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(answer)


@contextlib.asynccontextmanager
async def signed_in(access: Access, listen: Callable[[Message], None]) -> AsyncIterator[EventSocket]:
    """A connection that reads by itself; when it ends, the body is cancelled and the reason raised."""
    reader, writer = await _connect(access)
    try:
        socket = EventSocket(reader, writer, listen)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(_read(socket, access))
                await _sign_in(socket, access)
                yield socket
                reading.cancel()
        except* EslError as group_error:
            raise _first(group_error) from None
        except* OSError as group_error:
            raise EslError(f"The event socket connection broke: {group_error.exceptions[0]}.") from None
    finally:
        writer.close()
        writer.transport.abort()  # there is nothing left to say, and a peer that reads no more would keep it open


async def _connect(access: Access) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = f"{access.host}:{access.port}"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return await asyncio.open_connection(access.host, access.port, limit=_READ * 4)
    except TimeoutError as error:
        raise EslError(f"Nothing answers at {where}.") from error
    except OSError as error:
        raise EslError(f"The event socket at {where} cannot be reached: {error.strerror or error}.") from error


async def _read(socket: EventSocket, access: Access) -> None:
    try:
        await socket.read()
    except EslRefusedError:
        raise
    except EslError as error:
        if socket.greeted.is_set():
            raise
        raise _no_event_socket(access) from error


async def _sign_in(socket: EventSocket, access: Access) -> None:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await socket.greeted.wait()
    except TimeoutError as error:
        raise _no_event_socket(access) from error
    try:
        await socket.ask(f"auth {access.password}")
    except CommandRefusedError as error:
        raise EslRefusedError("FreeSWITCH refused the password: see event_socket.conf.xml.") from error


def _no_event_socket(access: Access) -> EslError:
    return EslError(f"What answers at {access.host}:{access.port} is no event socket: check the port.")


def _first(group: BaseExceptionGroup[EslError]) -> EslError:
    """A refusal says more than the closed connection that follows it."""
    errors = [error for error in _flat(group) if isinstance(error, EslError)]
    return next((error for error in errors if isinstance(error, EslRefusedError)), errors[0])


def _flat(group: BaseExceptionGroup[EslError]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
