"""A local HTTP server that misbehaves on cue.

    with serving() as server:
        file = server.add("/x.zip", content, [drop(after=100), status(503)])
        fetch([server.url("/x.zip")], target)

Every request for a path takes the next fault of its list; once they are used up it is answered as
it should be: ranges, If-Range, ETag and all.
"""

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body>%s</body></html>"


@dataclass
class File:
    """What lies under a path, and how its server treats it."""

    content: bytes
    faults: deque["Fault"]
    ranges: bool = True  # the server knows Range
    tagged: bool = True  # it gives an ETag
    dated: bool = True  # it gives Last-Modified
    weak: bool = False  # the ETag is weak
    version: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)  # headers of the requests

    @property
    def etag(self) -> str | None:
        return f'{"W/" if self.weak else ""}"version-{self.version}"' if self.tagged else None

    @property
    def modified(self) -> str | None:
        return formatdate(1.5e9 + 3600 * self.version, usegmt=True) if self.dated else None

    def change(self, content: bytes) -> None:
        self.content, self.version = content, self.version + 1


@dataclass
class Reply:
    """What would be right to say; a fault alters it before or while it is said."""

    status: int
    headers: dict[str, str]
    body: bytes
    gone: bool = False  # the connection breaks after the body, or in its place


Fault = Callable[["Handler", File, Reply], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        file = self.server.files[self.path]
        file.seen.append({name.lower(): value for name, value in self.headers.items()})
        fault = file.faults.popleft() if file.faults else None
        # the client hangs up on some of this; that is no trouble of the server's
        with suppress(ConnectionError):
            reply = right_reply(file, self.headers.get("Range"), self.headers.get("If-Range"))
            if fault is not None:
                fault(self, file, reply)
            self.send(reply)

    def send(self, reply: Reply) -> None:
        if reply.status:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
        self.close_connection = self.close_connection or reply.gone

    def hung_up(self) -> None:
        """Wait until the client closes the connection."""
        self.connection.settimeout(10)
        with suppress(OSError):
            self.connection.recv(1)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def right_reply(file: File, wanted: str | None, only_if: str | None) -> Reply:
    whole = len(file.content)
    headers = {"Content-Type": "application/zip", "Content-Length": str(whole)}
    headers |= {"ETag": file.etag} if file.etag else {}
    headers |= {"Last-Modified": file.modified} if file.modified else {}
    same = only_if is None or (only_if in (file.etag, file.modified) and only_if[:2] != "W/")
    if not (file.ranges and wanted and same):
        return Reply(200, headers, file.content)
    return part(file, headers, int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]))


def part(file: File, headers: dict[str, str], first: int) -> Reply:
    whole = len(file.content)
    if first >= whole:
        headers |= {"Content-Range": f"bytes */{whole}", "Content-Length": "0"}
        return Reply(416, headers, b"")
    headers |= {
        "Content-Range": f"bytes {first}-{whole - 1}/{whole}",
        "Content-Length": str(whole - first),
    }
    return Reply(206, headers, file.content[first:])


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, File] = {}

    def add(self, path: str, content: bytes, faults: Iterable[Fault] = (), **traits: bool) -> File:
        self.files[path] = File(content, deque(faults), **traits)
        return self.files[path]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_: object) -> None:
        """A client that hung up is no news."""


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# The faults --------------------------------------------------------------------------------------


def drop(after: int) -> Fault:
    """The connection breaks after so many bytes of the body."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        reply.gone, reply.body = True, reply.body[:after]

    return fault


def hang_up(handler: Handler, file: File, reply: Reply) -> None:
    """The connection breaks before a word is said."""
    reply.status, reply.gone = 0, True


def announce(more: int) -> Fault:
    """Content-Length is wrong by so much: too short, and the rest is lost; too long, it breaks."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        length = max(0, len(reply.body) + more)
        reply.headers["Content-Length"] = str(length)
        reply.body, reply.gone = reply.body[:length], True

    return fault


def status(code: int, text: bytes = b"sorry", **headers: str) -> Fault:
    def fault(handler: Handler, file: File, reply: Reply) -> None:
        reply.status, reply.body = code, text
        reply.headers = {"Content-Length": str(len(text))}
        reply.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    return fault


def page(title: bytes = b"Sign in", body: bytes = b"Please sign in") -> Fault:
    """A web page in place of the file, as if all were well."""
    return status(200, PAGE % (title, body), Content_Type="text/html")


def redirect(to: str) -> Fault:
    return status(302, b"", Location=to)


def round_in_circles(handler: Handler, file: File, reply: Reply) -> None:
    """A redirect to itself, for ever."""
    file.faults.appendleft(round_in_circles)
    redirect(handler.path)(handler, file, reply)


def silence(after: int) -> Fault:
    """So many bytes, and then nothing, with the connection open."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        reply.body, reply.gone = reply.body[:after], True
        handler.send(reply)
        handler.hung_up()
        reply.status = 0

    return fault


def drip(handler: Handler, file: File, reply: Reply) -> None:
    """A byte every hundredth of a second, for two seconds at most."""
    body, reply.body, reply.gone = reply.body, b"", True
    handler.send(reply)
    handler.connection.settimeout(0.01)
    for index in range(min(len(body), 200)):
        handler.wfile.write(body[index : index + 1])
        with suppress(TimeoutError):
            handler.connection.recv(1)
            break  # hung up
    reply.status = 0


def changed(content: bytes) -> Fault:
    """The file is another one from now on, and the request is answered as is right for that."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        file.change(content)
        right = right_reply(file, handler.headers.get("Range"), handler.headers.get("If-Range"))
        reply.status, reply.headers, reply.body = right.status, right.headers, right.body

    return fault


def spliced(content: bytes, silent: bool = False) -> Fault:
    """The file is another one from now on, and If-Range is not honoured.

    Args:
        content: the new file.
        silent: the part comes without the new ETag and date.
    """

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        file.change(content)
        right = right_reply(file, handler.headers.get("Range"), None)
        if silent:
            right.headers.pop("ETag", None)
            right.headers.pop("Last-Modified", None)
        reply.status, reply.headers, reply.body = right.status, right.headers, right.body

    return fault


def shifted(by: int, admitted: bool) -> Fault:
    """A part that begins elsewhere than asked for, and says so or not."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        if reply.status == 206:
            first = len(file.content) - len(reply.body) - by
            moved = part(file, dict(reply.headers), max(0, first))
            if not admitted:
                moved.headers["Content-Range"] = reply.headers["Content-Range"]
                moved.body = moved.body[: len(reply.body)]
                moved.headers["Content-Length"] = reply.headers["Content-Length"]
            reply.headers, reply.body = moved.headers, moved.body

    return fault


def whole(handler: Handler, file: File, reply: Reply) -> None:
    """The whole file, though a part was asked for."""
    right = right_reply(file, None, None)
    reply.status, reply.headers, reply.body = right.status, right.headers, right.body


def flipped(place: float) -> Fault:
    """One bit is wrong, at this fraction of the body."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        if reply.body:
            body = bytearray(reply.body)
            body[int(place * len(body))] ^= 0x10
            reply.body = bytes(body)

    return fault


def encoded(handler: Handler, file: File, reply: Reply) -> None:
    reply.headers["Content-Encoding"] = "gzip"


def chunked(after: int | None = None, more: bytes = b"") -> Fault:
    """The body in chunks, without a length; it breaks after some bytes, or has some too many."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        body = reply.body + more
        reply.headers.pop("Content-Length", None)
        reply.headers["Transfer-Encoding"] = "chunked"
        pieces = [
            body[i : i + 512] for i in range(0, len(body if after is None else body[:after]), 512)
        ]
        reply.body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        if after is None:
            reply.body += b"0\r\n\r\n"
        else:
            reply.body, reply.gone = reply.body[:after], True

    return fault


def unannounced(after: int | None = None) -> Fault:
    """The body ends where the connection does, as in HTTP/1.0."""

    def fault(handler: Handler, file: File, reply: Reply) -> None:
        reply.headers.pop("Content-Length", None)
        reply.body, reply.gone = reply.body[:after], True

    return fault


def both(first: Fault, second: Fault) -> Fault:
    def fault(handler: Handler, file: File, reply: Reply) -> None:
        first(handler, file, reply)
        second(handler, file, reply)

    return fault
