"""A page in place of a file is recognised, and the error says what it wants."""

import pytest

from dataset_builders.download.checks import check_head
from dataset_builders.download.errors import MirrorError
from dataset_builders.download.expected import Expected
from dataset_builders.download.pages import is_page, page_error


@pytest.mark.parametrize(
    "head",
    [
        b"<!DOCTYPE html><html>",
        b"\n\n  <!doctype HTML PUBLIC",
        b"\xef\xbb\xbf<html lang='en'>",
        b"<!-- a licence --> <!-- another -->\n<HEAD>",
        b'<?xml version="1.0"?>\n<!DOCTYPE html>',
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>',
        "<html>".encode("utf-16"),
        "\ufeff<html>".encode("utf-16-be"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "rar", "csv", "any"])
def test_a_page_is_no_file_of_any_kind(head, kind):
    assert is_page(head)
    with pytest.raises(MirrorError, match="web page"):
        check_head(head, Expected(kind=kind))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04 <html>", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"Rar!\x1a\x07\x00", "rar"),
        (b"Rar!\x1a\x07\x01\x00", "rar"),
        (b"filename,pixel size(mm)\r\n000_HC.png,0.06", "csv"),
        (b"a;b\n<html>;2", "csv"),
        (b'{"train": [1, 2]}', "any"),
        (b"<case><number>1</number>", "any"),
        (b"<?xml version='1.0'?><case>", "any"),
        (b"\0\0\0", "any"),
    ],
)
def test_a_file_is_no_page(head, kind):
    assert not is_page(head)
    check_head(head, Expected(kind=kind))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "any"),
        (b"Rar!\x1a\x07\x00", "zip"),
        (b"PK\x03\x04", "rar"),
        (b'{"message": "Access denied", "type": "access"}', "csv"),
        (b"Access denied", "csv"),
        (b"a,\0b\n", "csv"),
    ],
)
def test_another_kind_is_refused(head, kind):
    with pytest.raises(MirrorError, match="is empty" if not head else f"no {kind} file"):
        check_head(head, Expected(kind=kind))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (b"<title>Google Drive - Quota exceeded</title> <a>Sign in</a>", "quota"),
        (b"Too many users have viewed or downloaded this file recently", "quota"),
        (b"<title>Google Drive - Virus scan warning</title> Sign in", "viruses"),
        (b"Google Drive can't scan this file for viruses.", "viruses"),
        (b"<title>Login</title>", "log-in"),
        (b'<input type="password">', "log-in"),
        (b"<title>Just a moment...</title> Enable JavaScript and cookies", "browser"),
        (b"<title>404</title>", "gone"),
        (b"<title>Page Not Found</title>", "gone"),
        (b"Site under maintenance", "repaired"),
    ],
)
def test_the_page_is_named(text, meaning):
    error = page_error(b"<!DOCTYPE html><html>" + text)
    assert meaning in error.reason
    assert error.remedy


def test_the_title_is_quoted_on_one_short_line():
    error = page_error(b"<html><title>\n A &amp; B \n C" + b" x" * 500 + b"</title>")
    assert "“A & B C x" in error.reason
    assert "\n" not in error.reason
    assert len(error.reason) < 150
