"""Launches calls on a FreeSWITCH: the extension's phones ring, and who answers goes through its own dialplan."""

import asyncio
import re
from collections.abc import Callable
from urllib.parse import quote

from pbx.connectors.orders import Launch, Order, Outcome
from pbx.freeswitch.esl import Message, text, variable
from pbx.freeswitch.eventsocket import CommandRefusedError, EslError, EventSocket

OUT_OF_REACH = "The portal has no connection to FreeSWITCH at the moment."
NOT_KNOWN = "The connection to FreeSWITCH broke: whether the phone rings is not known."
UNFIT = "The extension, its domain or the number holds what no FreeSWITCH could be told."
RINGS_WITHIN = 5.0  # seconds; a phone that takes longer to say so is being called all the same
RING_FOR = 30  # seconds
LAUNCHED = "voxledger_launch"  # the variables by which the calls that were launched here are known
CALLEE, CALLEE_IS_EXTENSION, USER_DATA = "voxledger_callee", "voxledger_callee_is_extension", "voxledger_user_data"
_WORD = re.compile(r"[0-9A-Za-z*#+._-]{1,64}")  # nothing that means something in a command
_DOMAIN = re.compile(r"[0-9A-Za-z.-]{1,253}")
_SAYS_IT_RINGS = frozenset({"CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA", "CHANNEL_ANSWER"})
_JOB_OF = re.compile(rf"\b{LAUNCHED}=([0-9A-Za-z._-]+)")
_REASONS = {
    "USER_NOT_REGISTERED": "No phone of the extension {} is registered.",
    "SUBSCRIBER_ABSENT": "No phone of the extension {} is registered.",
    "USER_BUSY": "The extension {} is busy.",
    "CALL_REJECTED": "The phone of the extension {} declined.",
    "NO_USER_RESPONSE": "The phone of the extension {} does not answer.",
}


class Launcher:
    """`is_live` says whether a session is in progress already."""

    def __init__(self, is_live: Callable[[str], bool]) -> None:
        self._is_live = is_live
        self._socket: EventSocket | None = None
        self._waiting: dict[str, asyncio.Future[str]] = {}  # by session: FreeSWITCH's word for why not, or nothing

    def connect(self, socket: EventSocket) -> None:
        self._socket = socket

    def disconnect(self) -> None:
        self._socket = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(EslError(NOT_KNOWN))

    async def launch(self, order: Order, launch: Launch) -> Outcome:
        """Done as soon as a phone rings; never to be given again, for that could ring it twice."""
        if self._is_live(order.session_id):
            return Outcome()
        if self._socket is None:
            return Outcome(OUT_OF_REACH)
        if order.was_handed_out:
            return Outcome("It is not known whether an earlier connector launched this call.")
        words = (order.session_id, launch.caller, launch.callee)
        if not (all(map(_WORD.fullmatch, words)) and _DOMAIN.fullmatch(launch.domain)):
            return Outcome(UNFIT)
        try:
            return Outcome(await self._ring(self._socket, order.session_id, launch))
        except CommandRefusedError as error:
            return Outcome(str(error))
        except EslError:
            return Outcome(NOT_KNOWN)

    async def forget(self, order: Order) -> None:
        """Hangs up on what nobody waits for any longer."""
        if self._socket is not None and _WORD.fullmatch(order.session_id):
            await self._socket.api(f"hupall NORMAL_CLEARING {LAUNCHED} {order.session_id}")

    def hear(self, message: Message) -> None:
        """What tells how a launch goes: its leg rings, or the command has ended."""
        if not self._waiting:
            return
        name = text(message, "Event-Name")
        if name in _SAYS_IT_RINGS:
            self._settle(variable(message, LAUNCHED), "")
        elif name == "BACKGROUND_JOB" and (found := _JOB_OF.search(text(message, "Job-Command-Arg"))):
            said = text(message, "_body").strip()
            self._settle(found[1], said.removeprefix("-ERR").strip() if said.startswith("-ERR") else "")

    def _settle(self, session_id: str, why_not: str) -> None:
        waiting = self._waiting.get(session_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(why_not)

    async def _ring(self, socket: EventSocket, session_id: str, launch: Launch) -> str:
        """Why it cannot, as a sentence; nothing when it rings."""
        if await socket.api(f"user_exists id {launch.caller} {launch.domain}") != "true":
            return f"FreeSWITCH knows no extension {launch.caller} of {launch.domain}."
        is_extension = await socket.api(f"user_exists id {launch.callee} {launch.domain}") == "true"
        context = await _context(socket, launch)
        waiting = self._waiting[session_id] = asyncio.get_running_loop().create_future()
        try:
            variables = _variables(session_id, launch, is_extension=is_extension)
            extension = f"user/{launch.caller}@{launch.domain}"
            await socket.ask(
                f"bgapi originate {{{variables}}}{extension} {launch.callee} XML {context}", name="originate"
            )
            async with asyncio.timeout(RINGS_WITHIN):
                why_not = await waiting
        except TimeoutError:
            return ""
        finally:
            del self._waiting[session_id]
        otherwise = f"FreeSWITCH could not ring the extension {{}}: {why_not}."
        return _REASONS.get(why_not, otherwise).format(launch.caller) if why_not else ""


async def _context(socket: EventSocket, launch: Launch) -> str:
    """Of the dialplan, that this extension's own calls go through."""
    try:
        found = await socket.api(f"user_data {launch.caller}@{launch.domain} var user_context")
    except CommandRefusedError:
        found = ""
    return found if _WORD.fullmatch(found) else "default"


def _variables(session_id: str, launch: Launch, *, is_extension: bool) -> str:
    """The extension's phone shows the number that will be called, the callee's phone the extension."""
    told = {
        LAUNCHED: session_id,
        CALLEE: launch.callee,
        CALLEE_IS_EXTENSION: "true" if is_extension else "false",
        USER_DATA: quote(launch.user_data, safe=""),
        "x_session_id": session_id,
        "export_vars": "x_session_id",
        "sip_h_X-Session-Id": session_id,
        "domain_name": launch.domain,
        "origination_caller_id_number": launch.callee,
        "origination_caller_id_name": launch.callee,
        "effective_caller_id_number": launch.caller,
        "effective_caller_id_name": launch.caller,
        "ignore_early_media": "true",
        "originate_timeout": str(RING_FOR),
    }
    return ",".join(f"{name}={value}" for name, value in told.items() if value)
