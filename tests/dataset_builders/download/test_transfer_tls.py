"""Who answers is known, or nothing is fetched."""

import io
import shutil
import ssl
import subprocess
import threading
from http.server import ThreadingHTTPServer

import misbehaving_server as bad
import pytest
import requests
from transfer_cases import OLD, QUICK

from dataset_builders.download.transfer import DownloadError, fetch


@pytest.fixture
def https(tmp_path):
    """The address of an https server whose certificate nobody signed."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make a certificate with")
    pem = tmp_path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN="
    subprocess.run([*make.split(), "-keyout", pem, "-out", pem], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = ThreadingHTTPServer(("127.0.0.1", 0), bad.Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/x.zip"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_nobody_signed_is_refused(https, tmp_path):
    target = tmp_path / "raw" / "x.zip"
    with requests.Session() as careless:
        careless.verify = False
        for session in (None, careless):
            with pytest.raises(DownloadError, match=r"certificate.*in a browser") as error:
                fetch([https], target, session=session, patience=QUICK)
            assert str(target) in str(error.value)


def test_a_redirect_to_an_open_line_is_refused(server, tmp_path):
    server.add("/open", OLD)

    class Downgrade(requests.adapters.HTTPAdapter):
        def send(self, request, **_):
            response = requests.Response()
            response.request, response.url, response.status_code = request, request.url, 302
            response.headers["Location"], response.raw = server.url("/open"), io.BytesIO()
            return response

    with requests.Session() as session:
        session.mount("https://", Downgrade())
        with pytest.raises(DownloadError, match="not encrypted"):
            fetch(["https://example.org/x.zip"], tmp_path / "x.zip", session=session)
    assert not list(tmp_path.iterdir())
