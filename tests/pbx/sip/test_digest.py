"""Digest answers right, wrong, stale, replayed and malformed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.sip import digest
from pbx.sip.digest import Credentials, MalformedError, Nonces, Proof, challenge, means, parse, response_to

HA1 = "939e7578ed9e3c518a452acee763bce9"  # RFC 2617 section 3.5: Mufasa:testrealm@host.com:Circle Of Life
KEY = b"k" * 32
HOME = "192.0.2.7"
PRINTED = (
    'Digest username="101",realm="test.io",nonce="13323933303:c8b6b255488669affb8a3e657188569a",'
    'uri="sip:test.io",response="da014b313dde19ff29c82043404af10f",algorithm=MD5'
)


def answered(nonces: Nonces, *, nc: str = "", now: float = 0.0, ha1: str = HA1) -> Credentials:
    return signed(
        Credentials("101", "test.io", nonces.new(HOME, now), "sip:test.io", "", "auth" if nc else "", nc, nc), ha1
    )


def signed(credentials: Credentials, ha1: str = HA1) -> Credentials:
    return replace(credentials, response=response_to(ha1, "MESSAGE", credentials))


def test_the_example_of_the_rfc() -> None:
    told = Credentials(
        "Mufasa", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", "", "auth",
        "00000001", "0a4f113b",
    )  # fmt: skip
    assert response_to(HA1, "GET", told) == "6629fae49393a05397450978507c4ef1"


def test_the_specifications_header_is_read() -> None:
    assert parse(PRINTED) == Credentials(
        "101", "test.io", "13323933303:c8b6b255488669affb8a3e657188569a", "sip:test.io",
        "da014b313dde19ff29c82043404af10f",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Basic dXNlcjpwYXNz", "scheme must be Digest"),
        ("Digest", "username is missing"),
        (PRINTED.replace(',uri="sip:test.io"', ""), "uri is missing"),
        (PRINTED.replace("MD5", "SHA-256"), "algorithm must be MD5"),
        (f"{PRINTED},qop=auth-int", "qop must be auth"),
        (f"{PRINTED},qop=auth,nc=1,cnonce=a", "nc of eight hexadecimal digits"),
        (f"{PRINTED},qop=auth,nc=00000001", "a cnonce"),
        (f'{PRINTED},realm="other"', "stands twice"),
        (PRINTED + ',x="', "cannot be read"),
        ("Digest " + ",".join(f"p{n}=1" for n in range(30)), "cannot be read"),
    ],
)
def test_malformed_headers_say_what_is_wrong(header: str, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        parse(header)


@given(st.text(max_size=300))
def test_no_header_breaks_the_reader(text: str) -> None:
    try:
        parse(f"Digest {text}")
    except MalformedError:
        return


def test_a_challenge_is_answered_and_read_back() -> None:
    told = parse(challenge("test.io", "abc") + ', username="101", uri="sip:a", response="r", nc=00000001, cnonce="c"')
    assert (told.realm, told.nonce, told.qop) == ("test.io", "abc", "auth")
    assert "stale=true" in challenge("test.io", "abc", stale=True)


def test_right_and_wrong_passwords() -> None:
    nonces = Nonces(KEY)
    assert nonces.prove(answered(nonces), HA1, "MESSAGE", source=HOME, now=1.0) is Proof.RIGHT
    assert nonces.prove(answered(nonces, ha1="0" * 32), HA1, "MESSAGE", source=HOME, now=1.0) is Proof.WRONG
    assert nonces.prove(replace(answered(nonces), response="ä"), HA1, "MESSAGE", source=HOME, now=1.0) is Proof.WRONG


def test_a_nonce_without_qop_is_good_once() -> None:
    nonces = Nonces(KEY)
    told = answered(nonces)
    assert [nonces.prove(told, HA1, "MESSAGE", source=HOME, now=1.0) for _ in range(2)] == [Proof.RIGHT, Proof.STALE]


def test_an_nc_is_good_once_and_only_grows() -> None:
    nonces = Nonces(KEY)
    first = answered(nonces, nc="00000005")
    proofs = [
        nonces.prove(signed(replace(first, nc=nc)), HA1, "MESSAGE", source=HOME, now=1.0)
        for nc in ("00000005", "00000005", "00000004", "00000006")
    ]
    assert proofs == [Proof.RIGHT, Proof.STALE, Proof.STALE, Proof.RIGHT]


def test_a_wrong_answer_uses_nothing_up() -> None:
    nonces = Nonces(KEY)
    told = answered(nonces, nc="00000001")
    assert nonces.prove(replace(told, response="0" * 32), HA1, "MESSAGE", source=HOME, now=1.0) is Proof.WRONG
    assert nonces.prove(told, HA1, "MESSAGE", source=HOME, now=1.0) is Proof.RIGHT


@pytest.mark.parametrize("now", [61.0, -1.0])
def test_a_nonce_expires(now: float) -> None:
    nonces = Nonces(KEY)
    assert nonces.prove(answered(nonces), HA1, "MESSAGE", source=HOME, now=now) is Proof.STALE


@pytest.mark.parametrize("nonce", ["", "x", "ä", "AAAA", "another installation's"])
def test_a_nonce_of_somebody_elses_is_stale(nonce: str) -> None:
    nonce = Nonces(b"other" * 8).new(HOME, 0.0) if nonce.startswith("another") else nonce
    told = signed(Credentials("101", "test.io", nonce, "sip:test.io", ""))
    assert Nonces(KEY).prove(told, HA1, "MESSAGE", source=HOME, now=1.0) is Proof.STALE


@pytest.mark.parametrize("ha1", [HA1, "0" * 32])
def test_under_a_nonce_of_another_source_or_time_nothing_is_learnt_and_nothing_is_wrong(ha1: str) -> None:
    nonces = Nonces(KEY)
    told = answered(nonces, ha1=ha1)
    assert nonces.prove(told, HA1, "MESSAGE", source="192.0.2.8", now=1.0) is Proof.STALE
    assert nonces.prove(told, HA1, "MESSAGE", source=HOME, now=61.0) is Proof.STALE
    garbage = signed(replace(told, nonce="garbage"), ha1)
    assert nonces.prove(garbage, HA1, "MESSAGE", source=HOME, now=1.0) is Proof.STALE


def test_the_used_ones_are_forgotten_once_they_have_expired() -> None:
    nonces = Nonces(KEY)
    for second in range(200):
        assert nonces.prove(answered(nonces, now=second), HA1, "MESSAGE", source=HOME, now=second) is Proof.RIGHT
    assert len(nonces._used) <= 62


def test_what_was_forgotten_for_want_of_room_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "REMEMBERED", 2)
    nonces = Nonces(KEY)
    first = answered(nonces)
    for told in (first, *(answered(nonces, now=second) for second in range(1, 5))):
        assert nonces.prove(told, HA1, "MESSAGE", source=HOME, now=5.0) is Proof.RIGHT
    assert nonces.prove(first, HA1, "MESSAGE", source=HOME, now=5.0) is Proof.STALE


@pytest.mark.parametrize(
    ("uri", "request_uri", "same"),
    [
        ("sip:101@test.io", "sip:101@TEST.io;transport=udp", True),
        ("sip:test.io", "sip:test.io:5060", False),
        ("sip:102@test.io", "sip:101@test.io", False),
        ("sips:101@test.io", "sip:101@test.io", False),
        ("tel:101", "sip:101@test.io", False),
        ("", "sip:101@test.io", False),
    ],
)
def test_the_digests_uri_is_the_requests(uri: str, request_uri: str, same: bool) -> None:
    assert means(uri, request_uri) is same
