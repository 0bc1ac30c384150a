"""Answers to the requests of any library that is built on `requests`, without a network.

    internet = FakeInternet.of(monkeypatch)
    internet.add("https://drive.google.com/uc?id=X", b"...", {"Content-Type": "text/html"})

So gdown and kagglehub run as they are, and raise what they really raise.
"""

import io
from dataclasses import dataclass, field
from email.message import Message

import requests
import urllib3


@dataclass
class Answer:
    body: bytes
    headers: dict[str, str]
    status: int
    cut: int | None  # bytes after which the connection breaks


class Body(io.BytesIO):
    """A body whose connection breaks where it ends too early."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body[: answer.cut])
        self.broken = answer.cut is not None

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        if not piece and self.broken and size != 0:
            raise urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead")
        return piece


class Original:
    """What the libraries ask the standard library's own response."""

    msg = Message()  # without cookies

    def isclosed(self):
        return True

    def close(self):
        pass


@dataclass
class FakeInternet(requests.adapters.BaseAdapter):
    """Answers by the beginning of the address; the last answer to an address is given again."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[requests.PreparedRequest] = field(default_factory=list)

    @classmethod
    def of(cls, monkeypatch):
        internet = cls()
        monkeypatch.setattr(requests.Session, "get_adapter", lambda session, url: internet)
        return internet

    def add(self, url, body=b"", headers=None, status=200, cut=None):
        headers = {"Content-Length": str(len(body))} | (headers or {})
        self.answers.setdefault(url, []).append(Answer(body, headers, status, cut))

    def urls(self):
        return [request.url for request in self.asked]

    def send(self, request, **kwargs):
        self.asked.append(request)
        known = [url for url in self.answers if request.url.startswith(url)]
        if not known:
            raise requests.ConnectionError(f"nobody at {request.url}", request=request)
        queue = self.answers[max(known, key=len)]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        response = requests.Response()
        response.status_code = answer.status
        response.reason = "as the test wants it"
        response.headers.update(answer.headers)
        response.url = request.url
        response.request = request
        response.raw = urllib3.HTTPResponse(
            Body(answer), headers=answer.headers, status=answer.status, preload_content=False
        )
        response.raw._original_response = Original()
        return response

    def close(self):
        pass
