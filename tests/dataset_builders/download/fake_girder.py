"""A small Girder server: the three endpoints that are used, on a free port.

with serving({"database_nifti": {"patient0001": {"a.nii.gz": b"..."}}}) as server:
    server.api
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COLLECTION = "c" * 24


def id_of(path: str) -> str:
    return sha256(path.encode()).hexdigest()[:24]


class Girder(ThreadingHTTPServer):
    """A collection of nested dicts: a dict is a folder, bytes are an item."""

    daemon_threads = True

    def __init__(self, tree) -> None:
        self.nodes = {COLLECTION: ("", tree)}
        self._add("", tree)
        self.asked: list[str] = []
        self.page = b""  # if not empty, in place of every listing
        self.broken_after: int | None = None  # downloads, then 503
        self.downloads = 0
        super().__init__(("127.0.0.1", 0), Handler)

    def _add(self, path, tree) -> None:
        for name, node in tree.items():
            self.nodes[id_of(f"{path}/{name}")] = (f"{path}/{name}", node)
            if isinstance(node, dict):
                self._add(f"{path}/{name}", node)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/v1"

    def listed(self, parent: str, kind: type) -> bytes:
        path, tree = self.nodes[parent]
        return json.dumps(
            [
                {"_id": id_of(f"{path}/{name}"), "name": name, "size": len(node)}
                for name, node in tree.items()
                if isinstance(node, kind)
            ]
        ).encode()


class Handler(BaseHTTPRequestHandler):
    server: Girder

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        what = url.path.removeprefix("/api/v1/").split("/")
        if what == ["folder"]:
            assert query["parentType"] in ("collection", "folder")
            assert query["limit"] == "0"  # of a listing without it only 50 would come
            self.answer(self.server.page or self.server.listed(query["parentId"], dict))
        elif what == ["item"]:
            assert query["limit"] == "0"
            self.answer(self.server.page or self.server.listed(query["folderId"], bytes))
        elif what[0] == "item" and what[2] == "download":
            path, content = self.server.nodes[what[1]]
            self.server.asked.append(path)
            self.server.downloads += 1
            limit = self.server.broken_after
            broken = limit is not None and self.server.downloads > limit
            self.answer(b"" if broken else content, 503 if broken else 200)
        else:
            self.answer(b"", 404)

    def answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(tree) -> Iterator[Girder]:
    with Girder(tree) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
