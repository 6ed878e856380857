#!/usr/bin/env python3
"""Verifies the Standard Webhooks signature of a request. Python 3.9 or later, nothing else.

As a program, on a request that receiver.py saved (headers, an empty line, the body byte for byte):

    WEBHOOK_SECRET=whsec_... python3 verify.py saved/7-1041.http

As a module, in a receiver of your own:

    verify(["whsec_..."], headers, body)     # raises VerificationError, a sentence

It ends with 0 when the request is genuine, with 1 when it is not, with 2 when it was called wrongly. A saved request is
soon older than the five minutes that a receiver allows: --max-age 0 leaves its age unchecked.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import os
import sys
import time

TOLERANCE = 300  # seconds; an older request may be somebody's recording of it


class VerificationError(Exception):
    """Why a request is not to be trusted, as a sentence."""


def verify(secrets, headers, body, tolerance=TOLERANCE):
    """`secrets`: the endpoint's, and while you rotate it the old one too. `headers`: a mapping with lower-case names.
    `body`: the bytes as they came, never JSON that was parsed and written again."""
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not headers.get(name):
            raise VerificationError(f"The header {name} is missing.")
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise VerificationError("The header webhook-timestamp is no number of seconds.")
    age = time.time() - int(timestamp)
    if tolerance and age > tolerance:
        raise VerificationError(f"The request is {age:.0f} seconds old; at most {tolerance} are allowed.")
    if tolerance and age < -tolerance:
        raise VerificationError("The request comes from the future. Check this machine's clock.")
    signed = f"{message_id}.{timestamp}.".encode() + body
    given = [part[3:] for part in headers["webhook-signature"].split() if part.startswith("v1,")]
    for secret in secrets:
        expected = base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()
        # Each is compared in constant time, so that an answer's delay tells nothing about the right one.
        if any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
            return
    raise VerificationError("No signature fits: the secret is another, or the request was changed on its way.")


def key_of(secret):
    try:
        return base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise VerificationError("The secret is malformed: it is whsec_ and base64, as the portal showed it.") from None


def secrets_of(text):
    """Several, comma separated, while the secret is rotated."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        stop("No secret: set WEBHOOK_SECRET to what the portal showed when the endpoint was made.")
    try:
        for secret in found:
            key_of(secret)
    except VerificationError as error:
        stop(str(error))
    return found


def stop(why):
    print(why, file=sys.stderr)
    sys.exit(2)


def read_saved(path):
    with open(path, "rb") as file:
        head, _, body = file.read().partition(b"\n\n")
    lines = [line.partition(":") for line in head.decode("latin-1").splitlines()]
    return {name.strip().lower(): value.strip() for name, _, value in lines}, body


def main():
    parser = argparse.ArgumentParser(description="Verifies a saved webhook request.")
    parser.add_argument("file")
    parser.add_argument("--max-age", type=int, default=TOLERANCE, metavar="SECONDS", help="0 leaves the age unchecked")
    options = parser.parse_args()
    secrets = secrets_of(os.environ.get("WEBHOOK_SECRET", ""))
    try:
        headers, body = read_saved(options.file)
        verify(secrets, headers, body, options.max_age)
    except OSError as error:
        parser.error(f"{options.file} cannot be read: {error.strerror}.")
    except VerificationError as error:
        sys.exit(f"Not genuine. {error}")
    print("Genuine.")


if __name__ == "__main__":
    main()
