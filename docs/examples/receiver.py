#!/usr/bin/env python3
"""Receives webhooks: verifies each, keeps each event once, answers 204. Python 3.9 or later and verify.py beside it.

    WEBHOOK_SECRET=whsec_... python3 receiver.py --port 9000

Create an endpoint with the URL http://<this machine>:9000/ (Company > Event URL, or POST /api/v1/endpoints) and take
the secret that it shows. Each event is printed as one line. While you rotate the secret, name both, comma separated.

An event may come more than once: after an answer that got lost, or when somebody sends it again. Its webhook-id tells;
--seen names the file that remembers which came already. --save FOLDER also keeps each genuine request as it came, for
verify.py and verify.sh.

For the internet put a server with TLS in front, and replace `handle` by what you want to do. Answer within 15 seconds:
take the event into a queue or a table of your own first, work on it afterwards.
"""

import argparse
import os
import re
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from verify import VerificationError, secrets_of, verify

BODY_MAX = 5 * 1024 * 1024


def handle(body):
    """Whatever you do with an event. If it raises, the portal is answered 500 and sends the event again."""
    sys.stdout.write(body.decode() + "\n")
    sys.stdout.flush()


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, secrets, seen_file, save_to):
        super().__init__(address, Handler)
        self.secrets, self.save_to = secrets, save_to
        self.turn = threading.Lock()  # one event at a time: two copies of one must not pass each other
        self.seen = sqlite3.connect(seen_file, check_same_thread=False, isolation_level=None)
        self.seen.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP)")

    def take(self, message_id, body):
        """Handled first, noted after: a crash in between means once more, never not at all."""
        with self.turn:
            if self.seen.execute("SELECT 1 FROM seen WHERE id = ?", [message_id]).fetchone():
                return
            handle(body)
            self.seen.execute("INSERT INTO seen (id) VALUES (?)", [message_id])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self.answer(411, "Send a Content-Length.")
        if int(length) > BODY_MAX:
            return self.answer(413, f"The body may have {BODY_MAX} bytes.")
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            verify(self.server.secrets, headers, body)
        except VerificationError as error:
            return self.answer(400, str(error), keep=True)
        if self.server.save_to:
            self.save(headers, body)
        try:
            self.server.take(headers["webhook-id"], body)
        except Exception as error:  # whatever it was: without a 2xx the event comes again
            return self.answer(500, f"It could not be handled: {error}", keep=True)
        return self.answer(204, keep=True)

    def do_GET(self):
        self.answer(405, "Webhooks are posted here.")

    def save(self, headers, body):
        name = re.sub(r"[^A-Za-z0-9-]", "_", headers["webhook-id"])[:100]
        head = "".join(f"{name}: {value}\n" for name, value in headers.items() if name != "authorization")
        with open(os.path.join(self.server.save_to, f"{name}.http"), "wb") as file:
            file.write(head.encode("latin-1") + b"\n" + body)

    def answer(self, status, why="", keep=False):
        """Unless the whole body was read, the connection cannot be used again."""
        text = why.encode() + b"\n" if why else b""
        self.close_connection = self.close_connection or not keep
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
        if self.close_connection:
            self.send_header("Connection", "close")
        if status == 405:
            self.send_header("Allow", "POST")
        self.end_headers()
        self.wfile.write(text)
        if why:
            sys.stderr.write(f"{self.client_address[0]}: answered {status}. {why}\n")

    def log_message(self, *_):
        """Only what was refused is told, by `answer`."""


def main():
    parser = argparse.ArgumentParser(description="Receives and verifies webhooks.")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--seen", default="webhook-ids.sqlite3", metavar="FILE", help="remembers what came already")
    parser.add_argument("--save", metavar="FOLDER", help="also keeps each genuine request there")
    options = parser.parse_args()
    secrets = secrets_of(os.environ.get("WEBHOOK_SECRET", ""))
    if options.save:
        os.makedirs(options.save, exist_ok=True)
    try:
        server = Receiver((options.bind, options.port), secrets, options.seen, options.save)
    except OSError as error:
        sys.exit(f"Cannot listen on {options.bind}:{options.port}: {error.strerror}.")
    except sqlite3.Error as error:
        sys.exit(f"{options.seen} cannot be used: {error}.")
    sys.stderr.write(f"Listening on http://{options.bind}:{server.server_address[1]}/\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")


if __name__ == "__main__":
    main()
