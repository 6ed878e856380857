#!/usr/bin/env python3
"""Reads the event log by GET /api/v1/events and prints each event as one line. Python 3.9 or later, nothing else.

    VOXLEDGER_TOKEN=... python3 pull.py http://acme.localhost:8000 --connect 127.0.0.1:8000

The token is an administrator's API token (Company > API Tokens). Where it stands is kept in the file that --cursor
names; without that file it begins with the oldest event that is kept. It asks again every --every seconds; with --once
it ends when it has read everything. --connect goes to that address whatever the name in the URL resolves to: many
resolvers do not know *.localhost.
"""

import argparse
import http.client
import json
import os
import socket
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit


class TryAgainError(Exception):
    """Nothing is wrong with the question; `wait` is how many seconds the portal asked for, if it did."""

    def __init__(self, why, wait=0):
        super().__init__(why)
        self.wait = wait


def handle(event):
    """Whatever you do with an event. Its cursor is kept only afterwards: a crash here means once more."""
    print(json.dumps(event, ensure_ascii=False, separators=(",", ":")), flush=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


def keep(file, cursor):
    new = file.with_name(file.name + ".new")
    new.write_text(cursor)
    new.replace(file)  # whole or not at all


def get(options, path):
    url = urlsplit(options.url)
    secure = url.scheme == "https"
    address = options.connect or (url.hostname, url.port or (443 if secure else 80))
    connection = http.client.HTTPConnection(url.netloc)
    try:
        connection.sock = socket.create_connection(address, timeout=30)
        if secure:
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=url.hostname)
        connection.request("GET", path, headers={"Host": url.netloc, "Authorization": f"Bearer {options.token}"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise TryAgainError(f"No answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    return answer, body


def page_after(options, since):
    query = {"profile": options.profile, "limit": 500}
    if since:
        query["since"] = since
    if options.types:
        query["types"] = options.types
    answer, body = get(options, f"/api/v1/events?{urlencode(query)}")
    if answer.status == 429 or answer.status >= 500:
        wait = answer.headers.get("Retry-After", "")
        raise TryAgainError(f"The portal answered {answer.status}", int(wait) if wait.isdigit() else 0)
    try:
        document = json.loads(body)
    except ValueError:
        sys.exit(f"The answer ({answer.status}) is not the portal's. Is {options.url} the tenant's host?")
    if answer.status != 200:
        sys.exit(f"The portal answered {answer.status}: {document['error']['message']}")
    return document


def read_on(options):
    """Everything there is after the cursor."""
    more = True
    while more:
        since = options.cursor.read_text().strip() if options.cursor.exists() else ""
        page = page_after(options, since)
        if page["gap"]:
            say(f"Events after {since} are no longer kept; this goes on with the oldest that is.")
        for event in page["items"]:
            handle(event)
            keep(options.cursor, event["event_id"])
        keep(options.cursor, page["cursor"])
        more = page["next"]


def host_and_port(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def main():
    parser = argparse.ArgumentParser(description="Reads the event log by REST.")
    parser.add_argument("url", help="http://<tenant's host> or https://<tenant's host>")
    parser.add_argument("--token", default=os.environ.get("VOXLEDGER_TOKEN"), help="else VOXLEDGER_TOKEN")
    parser.add_argument("--cursor", default="cursor.txt", type=Path, metavar="FILE", help="remembers the last event")
    parser.add_argument("--connect", type=host_and_port, metavar="HOST:PORT", help="the address to connect to")
    parser.add_argument("--types", default="", help="event types, comma separated (all)")
    parser.add_argument("--profile", default="v16", choices=["v16", "v22"], help="the spelling of the payloads (v16)")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="how often to ask (5)")
    parser.add_argument("--once", action="store_true", help="end when everything is read")
    options = parser.parse_args()
    if not options.token:
        parser.error("no token: set VOXLEDGER_TOKEN or give --token")
    if urlsplit(options.url).scheme not in ("http", "https") or not urlsplit(options.url).hostname:
        parser.error(f"{options.url} is no address: it begins with http:// or https://")
    pause = 1
    while True:
        try:
            read_on(options)
            if options.once:
                return
            pause, wait = 1, options.every
        except TryAgainError as error:
            wait = error.wait or pause
            say(f"{error}. Trying again in {wait} s.")
            pause = min(2 * pause, 60)
        time.sleep(wait)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("Stopped.")
