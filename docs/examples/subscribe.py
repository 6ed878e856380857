#!/usr/bin/env python3
"""Follows the event log over /wsi and prints each event as one line; comes back where it was. pip install websockets

    VOXLEDGER_TOKEN=... python3 subscribe.py ws://acme.localhost:8000/wsi --connect 127.0.0.1:8000

The token is an administrator's API token (Company > API Tokens). The last event_id handled stands in the file that
--cursor names, so that a stop, a crash or a lost connection loses nothing: the next subscription names it as `since`.
Without the file it begins with what happens from now on. --connect goes to that address whatever the name in the URL
resolves to: many resolvers do not know *.localhost.
"""

import argparse
import json
import os
import random
import socket
import sys
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import connect

FINAL = {4002: "wrong credentials", 4003: "the token or its permission is gone", 4004: "the tenant is not active"}


def handle(event):
    """Whatever you do with an event. Its cursor is kept only afterwards: a crash here means once more."""
    print(event, flush=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


def keep(file, cursor):
    new = file.with_name(file.name + ".new")
    new.write_text(cursor)
    new.replace(file)  # whole or not at all


def ask(connection, command, **more):
    connection.send(json.dumps({"command": command, **more}))
    reply = json.loads(connection.recv(timeout=20))
    if reply["status"] != 0:
        sys.exit(f"The portal refused to {command}: {reply['error']}.")
    return reply


def follow(options):
    """One connection, until it breaks."""
    cursor = options.cursor.read_text().strip() if options.cursor.exists() else ""
    where = socket.create_connection(options.connect, timeout=10) if options.connect else None
    with connect(options.url, sock=where, compression=None) as connection:
        ask(connection, "auth", access_token=options.token)
        wanted = {"topics": ["cdr_events"], "event_types": options.types.split(","), "profile": options.profile}
        reply = ask(connection, "subscribe", **wanted, **({"since": cursor} if cursor else {}))
        if reply.get("gap"):
            say(f"Events after {cursor} are no longer kept. What is left of them: {reply['events_url']}")
        if not cursor:
            keep(options.cursor, reply["cursor"])
        say(f"Subscribed, from event {reply['cursor']} on.")
        for event in connection:
            handle(event)
            keep(options.cursor, json.loads(event)["event_id"])


def host_and_port(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def main():
    parser = argparse.ArgumentParser(description="Follows the event log over /wsi.")
    parser.add_argument("url", help="ws://<tenant's host>/wsi or wss://<tenant's host>/wsi")
    parser.add_argument("--token", default=os.environ.get("VOXLEDGER_TOKEN"), help="else VOXLEDGER_TOKEN")
    parser.add_argument("--cursor", default="cursor.txt", type=Path, metavar="FILE", help="remembers the last event")
    parser.add_argument("--connect", type=host_and_port, metavar="HOST:PORT", help="the address to connect to")
    parser.add_argument("--types", default="call_cdr", help="event types, comma separated (call_cdr)")
    parser.add_argument("--profile", default="v16", choices=["v16", "v22"], help="the spelling of the payloads (v16)")
    options = parser.parse_args()
    if not options.token:
        parser.error("no token: set VOXLEDGER_TOKEN or give --token")
    pause = 1.0
    while True:
        began, why = time.monotonic(), "The portal closed the connection"
        try:
            follow(options)
        except InvalidURI:
            sys.exit(f"{options.url} is no WebSocket address: it begins with ws:// or wss://.")
        except ConnectionClosed as error:
            if error.rcvd and error.rcvd.code in FINAL:
                sys.exit(f"The portal closed the connection: {FINAL[error.rcvd.code]}.")
            why = f"The connection was closed: {error}"
        except (InvalidHandshake, OSError, EOFError) as error:
            why = f"No connection: {error or type(error).__name__}"
        pause = 1.0 if time.monotonic() - began > 60 else min(2 * pause, 60.0)
        wait = pause * random.uniform(0.5, 1)  # not all clients at the same moment
        say(f"{why}. Trying again in {wait:.1f} s.")
        time.sleep(wait)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("Stopped.")
