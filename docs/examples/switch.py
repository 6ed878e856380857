#!/usr/bin/env python3
"""The smallest switch: reports one call through the Switch API, then ends. Python 3.9 or later, nothing else.

    VOXLEDGER_SWITCH_TOKEN=... python3 switch.py http://localhost:8000 --domain acme.test 101 102

It needs a switch of kind `http` (its token is shown once, when it is created) and a tenant with that SIP domain. The
call rings for two seconds and lasts --talk seconds; then its record stands in the tenant's CDR list. Each event is told
when it happens, with the time it happened at. Commands come back in the answers and, while the two talk, by the long
poll; every command is confirmed, here always as failed, because this switch cannot record.

An event that was told keeps its id: when no answer came, tell the same again. The portal takes it once.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

TRIES = 5


def ask(options, method, path, document=None, timeout=40):
    """What the portal answered; asks again when it could not."""
    body = None if document is None else json.dumps(document).encode()
    headers = {"Authorization": f"Bearer {options.token}", "Content-Type": "application/json"}
    for attempt in range(1, TRIES + 1):
        request = urllib.request.Request(options.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            why = f"The portal answered {error.code}: {sentence_of(error)}"
            if error.code < 500 and error.code != 429:
                sys.exit(why)
        except (OSError, ValueError) as error:
            why = f"No answer from {options.url}: {getattr(error, 'reason', error)}."
        if attempt < TRIES:
            print(f"{why} Trying again.", file=sys.stderr)
            time.sleep(attempt)
    sys.exit(f"{why} Given up.")


def sentence_of(error):
    try:
        return json.load(error)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return error.reason


def tell(options, session_id, kind, **fields):
    event = {"id": str(uuid.uuid4()), "session_id": session_id, "type": kind, "at": time.time(), **fields}
    answer = ask(options, "POST", "/api/switch/v1/events", {"events": [event]})
    (result,) = answer["results"]
    if result["status"] == "rejected":
        sys.exit(f"{kind} was rejected: {result['error']['message']}")
    print(f"{kind}: {result['status']}", flush=True)
    confirm(options, answer["commands"])


def confirm(options, commands):
    for command in commands:
        said = {"status": "failed", "reason": "This switch cannot record."}
        ask(options, "POST", f"/api/switch/v1/commands/{command['id']}", said)
        print(f"{command['command']}: confirmed as failed", flush=True)


def listen(options, seconds):
    """Waits for commands for that long. Each stays in the answer until it is confirmed."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        wait = min(25, int(left))
        confirm(options, ask(options, "GET", f"/api/switch/v1/commands?wait={wait}")["commands"])
        time.sleep(min(1, max(0, end - time.monotonic())))


def call(options):
    session = str(uuid.uuid4())
    caller = {"number": options.caller, "kind": "extension"}
    callee = {"number": options.callee, "kind": "extension"}
    tell(options, session, "call.started", domain=options.domain, caller=caller, callee=callee)
    tell(options, session, "target.added", target_id="1", callee=callee)
    tell(options, session, "target.ringing", target_id="1")
    listen(options, 2)
    tell(options, session, "target.answered", target_id="1")
    listen(options, options.talk)
    tell(options, session, "target.ended", target_id="1", end_reason="caller_disconnect", status_code=0)
    tell(options, session, "call.ended", ended_reason="caller_disconnect", status_code=0)
    print(f"The call stands in the ledger as session {session}.")


def main():
    parser = argparse.ArgumentParser(description="Reports one call between two extensions through the Switch API.")
    parser.add_argument("url", type=lambda text: text.rstrip("/"), help="the system host, as http://localhost:8000")
    parser.add_argument("caller", help="the extension that calls")
    parser.add_argument("callee", help="the extension that is called and answers")
    parser.add_argument("--domain", required=True, help="the tenant's SIP domain")
    parser.add_argument("--token", default=os.environ.get("VOXLEDGER_SWITCH_TOKEN"), help="else VOXLEDGER_SWITCH_TOKEN")
    parser.add_argument("--talk", type=float, default=5, metavar="SECONDS", help="how long the two talk (5)")
    options = parser.parse_args()
    if not options.token:
        parser.error("no token: set VOXLEDGER_SWITCH_TOKEN or give --token")
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"{options.url} is no address: it begins with http:// or https://")
    call(options)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped in the middle of the call: the portal closes it when it has been silent for hours.")
