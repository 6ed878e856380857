"""Bodies as phones send them, and as they should not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip.media_control import COMMANDS, CONTENT_TYPES, RefusedBodyError, Wish, read

PLAIN, JSON, CURRENT = CONTENT_TYPES
PRINTED = b'{ "operation" : "pause-audio-recording", "session_id" : "5984923794364"}'
PAUSE = b"pause-audio-recording"


@pytest.mark.parametrize("content_type", [PLAIN, JSON, CURRENT, "Plain/X-Media-Control;charset=UTF-8"])
def test_the_specifications_bodies_under_each_type(content_type: str) -> None:
    assert read([content_type], PRINTED, in_dialog=False) == Wish("pause-audio-recording", "5984923794364")
    assert read([content_type], PAUSE, in_dialog=True) == Wish("pause-audio-recording")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_in_both_forms(command: str) -> None:
    assert read([PLAIN], f"{command}\r\n".encode(), in_dialog=True) == Wish(command)
    body = f'{{"operation":"{command}","session_id":7,"more":[1]}}'.encode()
    assert read([PLAIN], body, in_dialog=False) == Wish(command, "7")


@pytest.mark.parametrize(
    ("content_types", "body", "in_dialog", "code", "said"),
    [
        ([], PRINTED, False, 415, "must be one Content-Type"),
        ([PLAIN, JSON], PRINTED, False, 400, "must be one Content-Type"),
        (["text/plain"], PRINTED, False, 415, "must be plain/x-media-control"),
        (["garbage"], PRINTED, False, 415, "must be plain/x-media-control"),
        ([f"{PLAIN};charset=utf-16"], PRINTED, False, 400, "charset"),
        ([PLAIN], b"", True, 400, "empty"),
        ([PLAIN], b" \r\n", True, 400, "empty"),
        ([PLAIN], PAUSE.decode().encode("utf-16"), True, 400, "not UTF-8"),
        ([PLAIN], PAUSE, False, 400, "must be JSON"),
        ([PLAIN], b"stop-everything", True, 400, "command is unknown"),
        ([PLAIN], b"Pause-Audio-Recording", True, 400, "command is unknown"),
        ([PLAIN], PRINTED[:21], False, 400, "no JSON"),  # cut by the Content-Length that is printed
        ([PLAIN], b'{"operation":"pause-audio-recording"}', False, 400, "must be JSON with operation and session_id"),
        ([PLAIN], b'{"session_id":"1"}', False, 400, "must be texts"),
        ([PLAIN], b'{"operation":["pause-audio-recording"],"session_id":"1"}', False, 400, "must be texts"),
        ([PLAIN], b'{"operation":"pause-audio-recording","session_id":true}', False, 400, "must be texts"),
        ([PLAIN], b'{"operation":"pause-audio-recording","session_id":"' + b"1" * 200 + b'"}', False, 400, "cannot be"),
        ([PLAIN], b'{"operation":"pause-audio-recording","session_id":"a\\u0000"}', False, 400, "cannot be"),
    ],
)
def test_what_cannot_be_read_says_why(
    content_types: list[str], body: bytes, in_dialog: bool, code: int, said: str
) -> None:
    with pytest.raises(RefusedBodyError, match=said) as refused:
        read(content_types, body, in_dialog=in_dialog)
    assert refused.value.code == code


@given(st.lists(st.text(max_size=60), max_size=2), st.binary(max_size=200), st.booleans())
def test_nothing_breaks_the_reader(content_types: list[str], body: bytes, in_dialog: bool) -> None:
    for types in (content_types, [PLAIN]):
        try:
            assert read(types, body, in_dialog=in_dialog).command in COMMANDS
        except RefusedBodyError:
            continue
