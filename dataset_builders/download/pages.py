"""Recognise a web page that a server sends in place of a file, and say what it wants."""

import html
import re

from dataset_builders.download.errors import MirrorError

HEAD = 512  # bytes that tell a page from a file
ENOUGH = 64 * 1024  # bytes that tell what the page is about

_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_PAGE = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*"
    rb"<(!doctype\s+html|html|head|body|script|meta|title|center|h1|error)\b",
    re.IGNORECASE | re.DOTALL,
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)

# First match counts: a quota page offers a log-in too, and every page of a log-in has links.
_MEANINGS = (
    (
        r"quota|too many users have viewed or downloaded",
        "the host's quota for this file is spent",
        "try again in a day",
    ),
    (
        r"virus scan|scan this file for viruses",
        "the host warns that the file was not scanned for viruses and waits for a click",
        "click it in a browser",
    ),
    (
        r"captcha|checking your browser|enable javascript",
        "the host wants to see a browser",
        "open the link in one",
    ),
    (
        r"sign[ -]?in|log[ -]?in|type=.?password",
        "the host wants a log-in",
        "log in there in a browser",
    ),
    (r"not found|no longer available|\b404\b", "the file is gone", "look at the home page"),
    (r"maintenance|temporarily unavailable", "the host is being repaired", "try again later"),
)


def is_page(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a web page or of a host's XML error."""
    for mark in _BYTE_ORDER_MARKS:
        head = head.removeprefix(mark)
    # UTF-16 is told by the same letters with zeros between
    return _PAGE.match(head.replace(b"\0", b"")) is not None


def page_error(content: bytes) -> MirrorError:
    """The error of a page in place of a file.

    Args:
        content: the page's beginning, up to `ENOUGH` bytes.
    """
    text = content.replace(b"\0", b"").decode("utf-8", errors="replace")
    found = _TITLE.search(text)
    title = " ".join(html.unescape(found[1]).split())[:80] if found else ""
    page = f"a web page came in place of the file{f' (“{title}”)' if title else ''}"
    for words, meaning, remedy in _MEANINGS:
        if re.search(words, text, re.IGNORECASE):
            return MirrorError(f"{page}: {meaning}", remedy)
    return MirrorError(page, "open the link in a browser to see what it wants")
