"""Files from real servers on this machine, with and without TLS."""

from __future__ import annotations

import http.client
import http.server
import io
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.errors import StoreError
from edgekd.pipeline.baseline.web import Redirects, fetch, shown

LIMIT = 1000


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        place = self.path.partition("?")[0]
        if place == "/trickle":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                try:
                    self.wfile.write(b".")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)
        elif place.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", place.removeprefix("/to/"))
            self.end_headers()
        elif place == "/large":
            self._answer(bytes(LIMIT + 1))
        elif place == "/file":
            self._answer(b"content")
        else:
            self.send_error(404)

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def serve(context: ssl.SSLContext | None = None) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"{'https' if context else 'http'}://localhost:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from serve()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    try:
        subprocess.run(
            [*command.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder


@pytest.fixture(scope="module")
def tls_server(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    yield from serve(context)


def refused(url: str, **limits: float) -> str:
    with pytest.raises(StoreError) as caught:
        fetch(url, limit_bytes=LIMIT, **limits)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_http_is_for_this_machine_alone(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # which does not answer
    assert fetch(f"{server}/file?token=1#part", limit_bytes=LIMIT) == b"content"
    assert "'http' is not allowed here; allowed: https" in refused("http://example.org/baseline.json")


def test_https_wants_a_certificate_that_is_trusted(
    tls_server: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in refused(f"{tls_server}/file")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    assert fetch(f"{tls_server}/file", limit_bytes=LIMIT) == b"content"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://localhost/file",
        "data://text/plain,content",
        "https://",
        "https:///file",
        "https://[::1",
        "https://localhost:port/file",
    ],
)
def test_other_schemes_and_what_is_no_url_are_refused(url: str) -> None:
    assert "can't fetch it" in refused(url)


def test_a_name_and_a_password_are_refused_and_not_repeated() -> None:
    message = refused("https://ada:secret@example.org/file?key=hidden")
    assert "ends up in logs" in message
    assert "secret" not in message
    assert "hidden" not in message
    assert shown("https://ada:secret@example.org/a/b?key=hidden#x") == "https://example.org/a/b"


def test_redirects_stay_where_it_may_go(server: str, tls_server: str) -> None:
    assert fetch(f"{server}/to/{server}/file", limit_bytes=LIMIT) == b"content"
    assert "is not allowed" in refused(f"{server}/to/file:///etc/passwd")
    assert "'http' is not allowed here" in refused(f"{server}/to/http://example.org/file")
    assert "the server says 404 Not Found" in refused(f"{server}/gone")
    assert "the server says 302 Found, in circles" in refused(f"{server}/to/{'/to/' * 20}")
    assert "redirected to this machine" in refused_redirect("https://example.org/", f"{tls_server}/file")


def refused_redirect(url: str, new_url: str) -> str:
    request = urllib.request.Request(url)  # noqa: S310 - it is not sent
    with pytest.raises(ValueError, match="redirected") as caught:
        Redirects().redirect_request(request, io.BytesIO(), 302, "Found", http.client.HTTPMessage(), new_url)
    return str(caught.value)


def test_what_is_large_or_slow_is_given_up(server: str) -> None:
    assert f"more than {LIMIT} bytes" in refused(f"{server}/large")
    started = time.monotonic()
    assert "no answer in time" in refused(f"{server}/trickle", total_s=0.3)
    assert time.monotonic() - started < 3


def test_nobody_there_and_nothing_said() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        assert "no answer in time" in refused(url, total_s=0.3)
    assert "Connection refused" in refused(url)
