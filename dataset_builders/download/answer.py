"""One request: ask a server for a file, or for its rest, and read what comes."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import requests
import urllib3

from dataset_builders.download.errors import MirrorError, TransientError
from dataset_builders.download.pages import ENOUGH, HEAD, is_page, page_error
from dataset_builders.download.patience import Patience

REDIRECTS = 10
PIECE = 2**20  # bytes at most; a piece is what one look at the network gives

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_REMEDIES = {
    401: "it wants a log-in: get the file in a browser",
    403: "it wants a log-in, terms accepted or a day's wait: look in a browser",
    404: "the file has moved: look at the home page",
    410: "the file was taken away: look at the home page",
}
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)


def new_session() -> requests.Session:
    """A session without cookies or credentials of its own."""
    session = requests.Session()
    session.max_redirects = REDIRECTS
    session.headers["User-Agent"] = "usbench"
    return session


class Answer:
    """What a server says to a request: status and headers checked, its body to be read once."""

    def __init__(self, response: requests.Response, patience: Patience) -> None:
        self._response = response
        self._patience = patience
        self.status = response.status_code
        self.reason = response.reason
        self.headers = response.headers

    @property
    def length(self) -> int | None:
        """Bytes of the body, as announced."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() and not self.chunked else None

    @property
    def chunked(self) -> bool:
        """Whether the body marks its own end."""
        return "chunked" in self.headers.get("Transfer-Encoding", "").lower()

    @property
    def range(self) -> tuple[int | None, int | None]:
        """First byte of a part and bytes of the whole file; None where not, or wrongly, given."""
        found = _CONTENT_RANGE.fullmatch(self.headers.get("Content-Range", "").strip())
        first, _, total = found.groups() if found else (None, None, None)
        return (
            int(first) if first else None,
            int(total) if total and total != "*" else None,
        )

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            TransientError: the connection broke, fell silent, or drips.
        """
        began, came = time.monotonic(), 0
        while True:
            try:
                # `read` and `iter_content` would wait for a whole piece, however slowly it drips
                piece = self._response.raw.read1(PIECE, decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                raise TransientError(f"the connection broke ({_cause(error)})") from error
            if not piece:
                return
            yield piece
            came += len(piece)
            seconds = time.monotonic() - began
            if seconds >= self._patience.window:
                if came < self._patience.slowest * seconds:
                    rate = f"{came / seconds:,.0f} bytes a second"
                    raise TransientError(f"the server sends only {rate}")
                began, came = time.monotonic(), 0

    def peek(self) -> tuple[bytes, Iterator[bytes]]:
        """The body's beginning, enough to tell (and name) a page, and then the body with it."""
        pieces, head = self.pieces(), b""
        for piece in pieces:
            head += piece
            if len(head) >= (ENOUGH if is_page(head) else HEAD):
                break
        return head, chain([head] if head else [], pieces)


@contextmanager
def ask(
    session: requests.Session, url: str, headers: Mapping[str, str], patience: Patience
) -> Iterator[Answer]:
    """Send a GET request; yields an answer of status 200, 206 or 416.

    Certificates are always checked, whatever the session says.

    Raises:
        MirrorError: any other answer, or none.
    """
    try:
        response = session.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            timeout=(patience.connect, patience.silence),
            stream=True,
            verify=True,
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _no_answer(error) from error
    with response:
        hops = [hop.url for hop in response.history] + [response.url]
        if url.startswith("https:") and not all(hop.startswith("https:") for hop in hops):
            raise MirrorError(f"it redirects to {hops[-1]}, which is not encrypted")
        answer = Answer(response, patience)
        if answer.status not in (200, 206, 416):
            raise _refusal(answer)
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise MirrorError(f"it sends the file in Content-Encoding '{encoding}', unasked")
        yield answer


def _no_answer(error: Exception) -> MirrorError:
    if isinstance(error, requests.exceptions.SSLError) and "certificate" in str(error).lower():
        return MirrorError(
            f"its certificate is not to be trusted ({_cause(error)}), so nobody knows who answers",
            "open it in a browser and decide there",
        )
    if isinstance(error, requests.TooManyRedirects):
        return MirrorError(f"it redirects more than {REDIRECTS} times")
    if isinstance(error, requests.Timeout):
        return TransientError("no answer in time")
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return TransientError(f"no connection ({_cause(error)})")
    return MirrorError(f"no address to fetch from ({error})")


def _refusal(answer: Answer) -> MirrorError:
    reason = f"HTTP {answer.status} ({answer.reason})"
    remedy = _REMEDIES.get(answer.status, "")
    if answer.status in _TRANSIENT:
        return TransientError(reason, remedy, _retry_after(answer))
    head, _ = answer.peek()
    if is_page(head):
        page = page_error(head)
        return MirrorError(f"{reason}; {page.reason}", page.remedy)
    return MirrorError(reason, remedy)


def _retry_after(answer: Answer) -> float:
    try:
        return urllib3.Retry().parse_retry_after(answer.headers.get("Retry-After", "0"))
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def _cause(error: BaseException) -> str:
    """The innermost error's own words; the layers around it repeat addresses and pool names."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
