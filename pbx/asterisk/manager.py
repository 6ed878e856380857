"""One connection to the manager interface: signs in, asks, and hands every event to its listener in order."""

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable

from pbx.asterisk.access import Access
from pbx.asterisk.ami import Message, Parser, encode_action, text

CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_TIMEOUT = 10.0
PING_EVERY = 15.0
_READ = 65536
_LIST_MAX = 100_000
_BROKE = "The AMI connection broke."


class AmiError(Exception):
    """The manager interface cannot be used; the text is a sentence that says why."""


class AmiRefusedError(AmiError):
    """It does not know the user, or not with this password or from this address."""


class ActionRefusedError(AmiError):
    """Asterisk answered that it will not, or cannot: `why` is its word for it."""

    def __init__(self, action: str, why: str) -> None:
        super().__init__(f"Asterisk refused {action}: {why}.")
        self.why = why


class Ami:
    """A signed-in connection. `read()` must run for answers and events to come."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listen: Callable[[Message], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._listen = listen
        self._parser = Parser()
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._lists: dict[str, list[Message]] = {}
        self._asked = 0
        self._is_over = False

    async def read(self) -> None:
        """Reads until Asterisk closes the connection, which is an AmiError. Nobody waits for an answer any longer."""
        try:
            while data := await self._reader.read(_READ):
                for message in self._parser.feed(data):
                    self._take(message)
        finally:
            self._is_over = True
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(AmiError(_BROKE))
        raise AmiError("Asterisk closed the AMI connection.")

    async def ask(self, action: str, **fields: str) -> Message:
        """The answer to an action; `Response: Error` is an AmiError. `ActionID` may be given, for later events."""
        return await self._ask(action, fields)

    async def list_all(self, action: str, **fields: str) -> list[Message]:
        """The items of an action that answers with a list, in one piece with the events before and after it."""
        number = str(self._asked + 1)
        self._lists[number] = []
        try:
            await self._ask(action, fields)
            return self._lists[number]
        finally:
            self._lists.pop(number, None)

    def _take(self, message: Message) -> None:
        number = text(message, "ActionID")
        if number in self._lists and "Event" in message and text(message, "EventList") != "Complete":
            if len(self._lists[number]) < _LIST_MAX:
                self._lists[number].append(message)
            return
        if number in self._waiting:
            starts_list = number in self._lists and text(message, "EventList") == "start"
            if not starts_list and not self._waiting[number].done():
                self._waiting[number].set_result(message)
            return
        if "Event" in message:
            self._listen(message)

    async def _ask(self, action: str, fields: dict[str, str]) -> Message:
        if self._is_over:
            raise AmiError(_BROKE)
        self._asked += 1
        number = fields.get("ActionID", str(self._asked))
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(encode_action(action, fields | {"ActionID": number}))
            await self._writer.drain()
            answer = await asyncio.wait_for(self._waiting[number], ANSWER_TIMEOUT)
        except TimeoutError as error:
            raise AmiError(f"Asterisk did not answer {action} within {ANSWER_TIMEOUT:.0f} s.") from error
        except OSError as error:
            raise AmiError(_BROKE) from error
        finally:
            del self._waiting[number]
        if text(answer, "Response") == "Error":
            raise ActionRefusedError(action, text(answer, "Message").rstrip("."))
        return answer


@contextlib.asynccontextmanager
async def signed_in(access: Access, listen: Callable[[Message], None]) -> AsyncIterator[Ami]:
    """A connection that reads by itself; when it ends, the body is cancelled and the reason raised."""
    reader, writer = await _connect(access)
    try:
        ami = Ami(reader, writer, listen)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(ami.read())
                await _sign_in(ami, access)
                yield ami
                reading.cancel()
        except* AmiError as group_error:
            raise _first(group_error) from None
        except* OSError as group_error:
            raise AmiError(f"The AMI connection broke: {group_error.exceptions[0]}.") from None
    finally:
        writer.close()
        try:
            async with asyncio.timeout(1):
                await writer.wait_closed()
        except (OSError, TimeoutError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()  # a peer that reads no more would else keep it open


async def _connect(access: Access) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = f"{access.host}:{access.ami_port}"
    try:
        context = ssl.create_default_context() if access.ami_tls else None
        async with asyncio.timeout(CONNECT_TIMEOUT):  # wait_for would lose a connection made while it is cancelled
            return await asyncio.open_connection(access.host, access.ami_port, ssl=context, limit=_READ * 4)
    except TimeoutError as error:
        raise AmiError(f"Nothing answers at {where}.") from error
    except OSError as error:
        raise AmiError(f"AMI at {where} cannot be reached: {error.strerror or error}.") from error


async def _sign_in(ami: Ami, access: Access) -> None:
    """By challenge, so that the password does not cross the network."""
    refused = f"Asterisk refused the AMI user {access.ami_user}: check its name, secret and permit in manager.conf."
    try:
        challenge = text(await ami.ask("Challenge", AuthType="MD5"), "Challenge")
        key = hashlib.md5((challenge + access.ami_password).encode(), usedforsecurity=False).hexdigest()
        await ami.ask("Login", AuthType="MD5", Username=access.ami_user, Key=key, Events="on")
    except ActionRefusedError as error:
        raise AmiRefusedError(refused) from error


def _first(group: BaseExceptionGroup[AmiError]) -> AmiError:
    """A refusal says more than the closed connection that follows it."""
    errors = [error for error in _flat(group) if isinstance(error, AmiError)]
    return next((error for error in errors if isinstance(error, AmiRefusedError)), errors[0])


def _flat(group: BaseExceptionGroup[AmiError]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
