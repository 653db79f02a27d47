"""Real servers that keep what is sent to them: a mail server that speaks SMTP, and a web server for webhooks.

What belongs here: listening and keeping. What does not: expectations; those are in the tests.
"""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """Takes every mail. With a TLS context it offers STARTTLS, and then a login."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.mails: list[EmailMessage] = []
        self.logins: list[str] = []
        self.refusing = False
        super().__init__(("127.0.0.1", 0), _Mail)

    @property
    def port(self) -> int:
        return self.server_address[1]

    def subjects(self) -> list[str]:
        """The subjects since the last time they were asked for."""
        subjects = [str(mail["Subject"]) for mail in self.mails]
        self.mails.clear()
        return subjects


class _Mail(socketserver.StreamRequestHandler):
    server: MailServer

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def setup(self) -> None:
        super().setup()
        self.stack = ExitStack()

    def finish(self) -> None:
        super().finish()
        self.stack.close()

    def handle(self) -> None:
        secure: ssl.SSLSocket | None = None
        self.say("421 closed" if self.server.refusing else "220 sink")
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    more = ["AUTH PLAIN"] if secure else ["STARTTLS"] if self.server.tls else []
                    lines = ["sink", *more]
                    for at, each in enumerate(lines):
                        self.say(f"250{' ' if at == len(lines) - 1 else '-'}{each}")
                case "STARTTLS":
                    self.say("220 go on")
                    assert self.server.tls
                    try:
                        secure = self.server.tls.wrap_socket(self.request, server_side=True)
                    except ssl.SSLError:
                        return  # the client does not trust us
                    self.stack.enter_context(secure)
                    self.rfile, self.wfile = secure.makefile("rb"), secure.makefile("wb", 0)
                case "AUTH":
                    self.server.logins.append(base64.b64decode(rest.partition(" ")[2]).decode().replace("\0", " "))
                    self.say("235 ok")
                case "DATA":
                    self.say("354 go on")
                    content = b""
                    while (row := self.rfile.readline()) != b".\r\n":
                        content += row
                    self.server.mails.append(message_from_bytes(content, policy=policy.default))
                    self.say("250 taken")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 ok")


class WebServer(ThreadingHTTPServer):
    """Takes every POST."""

    daemon_threads = True

    def __init__(self) -> None:
        self.posts: list[Any] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Web)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/a-secret-path"


class _Web(BaseHTTPRequestHandler):
    server: WebServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.posts.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
        pass


@contextmanager
def listening(server: socketserver.BaseServer) -> Generator[None, None, None]:
    """Serve in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
