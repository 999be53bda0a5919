"""A file from the web: by https, of a known size at most, within a known time."""

from __future__ import annotations

import http.client
import ipaddress
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO

from edgekd.errors import StoreError
from edgekd.store import tool_versions

_SOCKET_S, _TOTAL_S = 20.0, 120.0
_CHUNK_BYTES = 2**16
_ALLOWED = "https, and http on this machine"


def fetch(url: str, *, limit_bytes: int, total_s: float = _TOTAL_S) -> bytes:
    """Fetch a file, through the proxy that the environment names.

    Args:
        url: With `https`; plain `http` from this machine alone, since anybody on the way could change it.
        limit_bytes: More is refused.
        total_s: Longer is refused, however it trickles in.

    Raises:
        StoreError: Another scheme, also of a redirect; no answer; too large or too slow.
    """
    where = shown(url)
    try:
        _check(url)
        # What is on this machine needs no proxy, and is not on the proxy's.
        handlers: list[urllib.request.BaseHandler] = [Redirects()]
        if _is_here(url):
            handlers.append(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(url, headers={"User-Agent": f"edgekd/{tool_versions('edgekd')['edgekd']}"})  # noqa: S310 - checked
        ends = time.monotonic() + total_s
        with urllib.request.build_opener(*handlers).open(request, timeout=min(_SOCKET_S, total_s)) as answer:
            return _read(answer, limit_bytes, ends)
    except urllib.error.HTTPError as error:
        error.close()  # it is the answer, too
        # Not in its own words, which may hold anything.
        said = f"the server says {error.code} {http.client.responses.get(error.code, '')}".rstrip()
        more = ", in circles or to what is not allowed" if 300 <= error.code < 400 else ""
        raise StoreError(f"{said}{more}", where=where) from None
    except TimeoutError:
        raise StoreError("no answer in time", where=where, next_step="try again, or give a file") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = repr(str(getattr(error, "reason", None) or error))[1:-1]
        raise StoreError(f"can't fetch it: {reason}", where=where) from None


def shown(url: str) -> str:
    """An URL without what may be secret in it: who asks, and the query.

    >>> shown("https://me:token@example.org/baseline.json?key=1")
    'https://example.org/baseline.json'
    """
    bare = url.partition("#")[0].partition("?")[0]
    scheme, _, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _read(answer: IO[bytes], limit_bytes: int, ends: float) -> bytes:
    content = bytearray()
    # `read1`: `read` would wait for a whole chunk, as long as one byte comes now and then.
    while chunk := answer.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]  # an HTTPResponse has it
        content += chunk
        if len(content) > limit_bytes:
            raise ValueError(f"more than {limit_bytes} bytes")
        if time.monotonic() > ends:
            raise TimeoutError
    return bytes(content)


def _check(url: str, came_from: str | None = None) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a name or password in an URL ends up in logs; fetch it yourself and give the file")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(url))):
        raise ValueError(f"'{parts.scheme}' is not allowed here; allowed: {_ALLOWED}")
    if came_from and _is_here(url) and not _is_here(came_from):
        raise ValueError("redirected to this machine")


def _is_here(url: str) -> bool:
    name = urllib.parse.urlsplit(url).hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to where it would not have gone in the first place, nor from the web to this machine."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Check where it leads before it is followed."""
        try:
            _check(newurl, came_from=req.full_url)
        except ValueError:
            fp.close()  # urllib would leave the answer open
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)
