"""A Hugging Face Hub of one process: the few endpoints that publishing and fetching need."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def commit(self, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(f"{self.head}{sorted(files)}".encode()).hexdigest()
        self.commits[oid] = files
        return oid

    def resolve(self, revision: str) -> str | None:
        oid = {"main": self.head, **self.tags}.get(revision, revision)
        return oid if oid in self.commits else None


@dataclass
class Hub:
    url: str = ""
    repos: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)  # "METHOD path"
    writers: set[str] = field(default_factory=lambda: {TOKEN})


class _Answer(Exception):  # noqa: N818 - most are no errors
    def __init__(self, status: int, body: object = b"", **headers: str) -> None:
        self.status, self.headers = status, headers
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


def _not_found(code: str) -> _Answer:
    return _Answer(404, {"error": code}, **{"X-Error-Code": code})


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.seen.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            raise self._answer(path, body)
        except _Answer as answer:
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - names of the library

    def _answer(self, path: str, body: bytes) -> _Answer:
        if path.startswith("/lfs/"):
            self.hub.blobs[path.removeprefix("/lfs/")] = body
            return _Answer(200)
        if path == "/api/validate-yaml":
            return _Answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        match = re.fullmatch(r"(?:/api)?/datasets/([\w.-]+/[\w-]+)(?:\.git)?(?:/(.*))?", path)
        assert match, path
        name, what = match[1], match[2] or ""
        repo = self.hub.repos.get(name)
        if repo is None:
            raise _not_found("RepoNotFound")
        first, _, rest = what.partition("/")
        if self.command == "POST" or first == "auth-check":
            self._authorize()
        return getattr(self, f"_{first.replace('-', '_') or 'revision'}")(name, repo, rest, body)

    def _authorize(self) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.hub.writers:
            raise _Answer(403, {"error": "you may not write here"})

    def _create(self, asked: dict) -> _Answer:
        self._authorize()
        name = f"{asked['organization']}/{asked['name']}"
        assert asked["type"] == "dataset"
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        status = 409 if name in self.hub.repos else 200
        self.hub.repos.setdefault(name, Repository(private))
        return _Answer(status, {"url": f"{self.hub.url}/datasets/{name}"})

    def _auth_check(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        assert rest == "write"
        return _Answer(200, {})

    def _refs(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        tags = [
            {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid}
            for tag, oid in repo.tags.items()
        ]
        return _Answer(200, {"branches": [], "converts": [], "tags": tags})

    def _commit_of(self, repo: Repository, revision: str) -> str:
        if (oid := repo.resolve(revision)) is None:
            raise _not_found("RevisionNotFound")
        return oid

    def _revision(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        oid = self._commit_of(repo, rest or "main")
        names = [{"rfilename": path} for path in repo.commits[oid]]
        found = {"id": name, "sha": oid, "private": repo.private, "siblings": names, "tags": []}
        return _Answer(200, found)

    def _tree(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        files = repo.commits[self._commit_of(repo, rest)]
        return _Answer(200, [_entry(path, content) for path, content in files.items()])

    def _preupload(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                "shouldIgnore": False,
                "oid": _oid(file["path"], repo.files.get(file["path"])),
            }
            for file in json.loads(body)["files"]
        ]
        return _Answer(200, {"files": files})

    def _info(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        assert rest == "lfs/objects/batch"
        objects = [
            {
                "oid": file["oid"],
                "size": file["size"],
                # what is there already need not be sent
                **({} if file["oid"] in self.hub.blobs else {"actions": self._put(file["oid"])}),
            }
            for file in json.loads(body)["objects"]
        ]
        return _Answer(200, {"transfer": "basic", "objects": objects})

    def _put(self, oid: str) -> dict:
        return {"upload": {"href": f"{self.hub.url}/lfs/{oid}"}}

    def _commit(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        files = dict(repo.files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repo.commit(files)
        return _Answer(200, {"commitUrl": f"{self.hub.url}/datasets/{name}", "commitOid": oid})

    def _tag(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        tag = json.loads(body)["tag"]
        if tag in repo.tags:
            raise _Answer(409, {"error": "tag exists"})
        repo.tags[tag] = self._commit_of(repo, rest)
        return _Answer(200, {})

    def _resolve(self, name: str, repo: Repository, rest: str, body: bytes) -> _Answer:
        revision, _, path = rest.partition("/")
        oid = self._commit_of(repo, revision)
        content = repo.commits[oid].get(path)
        if content is None:
            raise _not_found("EntryNotFound")
        etag = hashlib.sha256(content).hexdigest()
        return _Answer(200, content, **{"X-Repo-Commit": oid, "ETag": f'"{etag}"'})


def _oid(path: str, content: bytes | None) -> str | None:
    """What the Hub calls a file: its hash in git, or of its bytes where it is a large one."""
    if content is None:
        return None
    if path.endswith(".parquet"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: str, content: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(content), "oid": _oid(path, content)}
    if path.endswith(".parquet"):
        entry["lfs"] = {"oid": _oid(path, content), "size": len(content), "pointerSize": 100}
    return entry


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(monkeypatch, hub: Hub, cache: object, token: str | None = TOKEN) -> None:
    """Point the Hub's library at it, with a cache of its own, and without Xet."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache) + ".token")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
