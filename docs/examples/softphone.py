"""A softphone that pauses the recording of its own call: Debian's liblinphone, told by a few lines what to do.

    apt install linphone-cli              # brings liblinphone
    python3 softphone.py 101@acme.test sip-101-acme 192.0.2.5:5060 102 [udp or tcp]

It registers through the edge, dials, and once it is answered sends the specification's MESSAGE four times: pause,
resume, video, and another session. The session id is what the 200 to its INVITE told. liblinphone says of each only
whether it was taken or refused; with SOFTPHONE_LOG=1 every SIP message is shown, and so the codes and the words.
"""

import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = """
[sip]
sip_port=-1
sip_tcp_port=-1
default_proxy=0
[net]
mtu=1300
[proxy_0]
reg_proxy=<sip:{edge};transport={transport}>
reg_route=<sip:{edge};transport={transport};lr>
reg_identity=<sip:{account}>
reg_expires=600
reg_sendregister=1
[auth_info_0]
username={number}
passwd={password}
realm={domain}
domain={domain}
"""
REGISTERED, RUNNING, ENDED, RELEASED, DELIVERED, NOT_DELIVERED = 2, 8, 14, 19, 2, 3  # of liblinphone's enums

library = ctypes.CDLL("liblinphone.so.10")


def linphone(name: str, *given: Any, gives: Any = ctypes.c_void_p) -> Any:
    function = getattr(library, f"linphone_{name}")
    plain = [each.encode() if isinstance(each, str) else each for each in given]
    function.argtypes = [ctypes.c_char_p if isinstance(each, bytes) else ctypes.c_void_p for each in plain]
    function.restype = gives
    return function(*plain)


def told(pointer: bytes | None) -> str:
    return pointer.decode() if pointer else ""


class Softphone:
    def __init__(self, account: str, password: str, edge: str, transport: str) -> None:
        number, domain = account.split("@")
        home = Path(tempfile.mkdtemp(prefix="softphone-"))
        os.environ["HOME"] = str(home)
        (home / ".local/share/linphone").mkdir(parents=True)  # its database wants to be there
        settings = home / "linphonerc"
        settings.write_text(SETTINGS.format_map(locals()))
        if os.environ.get("SOFTPHONE_LOG"):
            linphone("core_enable_logs", None, gives=None)
        self.account = account
        self.core = linphone("factory_create_core_3", linphone("factory_get"), str(settings), None, None)
        linphone("core_set_use_files", self.core, 1, gives=None)  # no sound card is needed
        linphone("core_start", self.core, gives=ctypes.c_int)
        self.until(lambda: self.registration() == REGISTERED, "registered")

    def registration(self) -> int:
        account = linphone("core_get_default_account", self.core)
        return int(linphone("account_get_state", account, gives=ctypes.c_int))

    def until(self, reached: Callable[[], bool], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                sys.exit(f"It was not {what} within {seconds:.0f} s.")
            linphone("core_iterate", self.core, gives=None)
            time.sleep(0.02)

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, "over", seconds + 60)

    def call(self, number: str) -> Any:
        call = linphone("core_invite", self.core, f"sip:{number}@{self.account.split('@')[1]}")
        linphone("call_ref", call)  # it outlives the call: its state is asked for below
        self.until(
            lambda: linphone("call_get_state", call, gives=ctypes.c_int) in (RUNNING, ENDED, RELEASED), "answered"
        )
        if linphone("call_get_state", call, gives=ctypes.c_int) != RUNNING:
            sys.exit(f"{number} did not answer.")
        return call

    def message(self, body: str) -> str:
        room = linphone("core_get_chat_room_from_uri", self.core, f"sip:{self.account}")
        content = linphone("core_create_content", self.core)
        linphone("content_set_type", content, "plain", gives=None)
        linphone("content_set_subtype", content, "x-media-control", gives=None)
        linphone("content_set_utf8_text", content, body, gives=None)
        message = linphone("chat_room_create_empty_message", room)
        linphone("chat_message_add_content", message, content, gives=None)
        linphone("chat_message_send", message, gives=None)
        states = (DELIVERED, NOT_DELIVERED)
        self.until(lambda: linphone("chat_message_get_state", message, gives=ctypes.c_int) in states, "answered")
        is_taken = linphone("chat_message_get_state", message, gives=ctypes.c_int) == DELIVERED
        return "taken" if is_taken else "refused"


def main(account: str, password: str, edge: str, number: str, transport: str = "udp") -> None:
    phone = Softphone(account, password, edge, transport)
    print(f"registered as {account} by {transport}")
    call = phone.call(number)
    answer = linphone("call_get_remote_params", call)
    session_id = told(linphone("call_params_get_custom_header", answer, "X-Session-Id", gives=ctypes.c_char_p))
    print(f"in the call {session_id}")
    phone.rest(3)
    for operation, session in (
        ("pause-audio-recording", session_id),
        ("resume-audio-recording", session_id),
        ("pause-video-recording", session_id),
        ("pause-audio-recording", "5984923794364"),
    ):
        answered = phone.message(f'{{ "operation" : "{operation}", "session_id" : "{session}"}}')
        print(f"{operation} of {session}: {answered}")
        phone.rest(3)
    linphone("call_terminate", call, gives=ctypes.c_int)
    phone.rest(2)


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    main(*sys.argv[1:])
