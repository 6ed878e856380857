"""Digest answers, held against the examples of RFC 7616 and RFC 2069."""

import pytest

from events.digest import Challenge, authorization, strongest_challenge

MUFASA = {"method": "GET", "uri": "/dir/index.html", "username": "Mufasa"}


def test_rfc_7616_example_sha256_and_md5() -> None:
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    headers = [
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="{nonce}", opaque="FQ"',
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="{nonce}", opaque="FQ"',
    ]
    sha256 = strongest_challenge(headers[::-1])
    md5 = strongest_challenge(headers[1:])
    assert sha256 == Challenge("http-auth@example.org", nonce, "SHA-256", "auth", "FQ")
    assert md5 == Challenge("http-auth@example.org", nonce, "MD5", "auth", "FQ")
    answered = authorization(sha256, password="Circle of Life", cnonce=cnonce, **MUFASA)
    assert answered == (
        f'Digest username="Mufasa", realm="http-auth@example.org", nonce="{nonce}", uri="/dir/index.html",'
        f' algorithm=SHA-256, qop=auth, nc=00000001, cnonce="{cnonce}",'
        ' response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", opaque="FQ"'
    )
    assert 'response="8ca523f5e9506fed4657c9700eebdbec"' in authorization(
        md5, password="Circle of Life", cnonce=cnonce, **MUFASA
    )


def test_without_qop() -> None:
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    challenge = strongest_challenge([f'Digest realm="testrealm@host.com", nonce="{nonce}"'])
    assert challenge == Challenge("testrealm@host.com", nonce)
    assert authorization(challenge, password="CircleOfLife", cnonce="unused", **MUFASA) == (
        f'Digest username="Mufasa", realm="testrealm@host.com", nonce="{nonce}", uri="/dir/index.html",'
        ' algorithm=MD5, response="1949323746fe6a43ef61f9606e7febea"'
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        'Basic realm="x"',
        "Digest",
        'Digest realm="x"',
        'Digest nonce="x"',
        'Digest realm="x", nonce="y", algorithm=SHA-512-256',
        'Digest realm="x", nonce="y", qop="auth-int"',
        'Digest realm="x, nonce="y',
    ],
)
def test_what_cannot_be_met_is_no_challenge(header: str) -> None:
    assert strongest_challenge([header]) is None


def test_challenge_beside_another_scheme_in_one_header() -> None:
    assert strongest_challenge(['Basic realm="a", Digest realm="b\\"c", nonce="d", Bearer']) == Challenge('b"c', "d")
