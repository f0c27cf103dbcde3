"""One exchange over HTTP: what is asked, what may come, and what went wrong in plain words.

The standard library speaks HTTP here. Every rule of F56 is about the exchange itself (ranges,
validators, where a redirect may lead), so a larger client would be told the same, and none comes
with PyTorch for sure: its hub client has changed the one it uses twice.
"""

import errno
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

from pixelwright.errors import shown

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_NO_NETWORK = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}


class FailedError(Exception):
    """An address did not give the file.

    Args:
        why: A sentence that lacks its subject, the address, and its full stop.
        again: Whether trying once more may help.
        wait: Seconds that the server asks for.
    """

    def __init__(self, why: str, *, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(why)
        self.again = again
        self.wait = wait


@contextmanager
def asked(url: str, have: int, validator: str, timeout: float) -> Iterator[Any]:
    """The server's answer to a request for all that comes after the first `have` bytes.

    Raises:
        FailedError: There is none, or it is an error; also what goes wrong within the context.
    """
    headers = {"User-Agent": "pixelwright", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _told(), _answer(urllib.request.Request(url, headers=headers), timeout) as got:
        yield got


@contextmanager
def _answer(request: urllib.request.Request, timeout: float) -> Iterator[Any]:
    """The server's answer; also where it says that there is nothing behind what we have."""
    try:
        got = _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        got = error
    with got:
        yield got


def offered(got: Any, have: int) -> tuple[int, int | None]:
    """Where the bytes that come begin, and how many the whole file has, if the server says."""
    length = got.headers.get("Content-Length", "")
    coming = int(length) if length.isdecimal() else None
    if got.status == 200:
        return 0, coming
    if got.status == 206:
        span, _, total = got.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if span.partition("-")[0] == str(have) and have:
            return have, int(total) if total.isdecimal() else None
    raise FailedError(f"answers {got.status} in a way that does not fit what was asked")


def refuse_page(got: Any, name: str) -> None:
    kind = got.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml") and not name.endswith((".html", ".htm")):
        raise FailedError("answers with a web page, not with the file")


@contextmanager
def _told() -> Iterator[None]:
    """What went wrong in an exchange, and whether trying again may help."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            asked = error.headers.get("Retry-After", "") if error.headers else ""
        wait = float(asked) if asked.isdecimal() else 0.0
        again = error.code in _AGAIN
        raise FailedError(f"answers {error.code} {error.reason}", again=again, wait=wait) from error
    except urllib.error.URLError as error:
        _explain(error.reason)
    except (OSError, http.client.HTTPException) as error:
        _explain(error)


def _explain(why: BaseException | str) -> NoReturn:
    if isinstance(why, ssl.SSLCertVerificationError):
        raise FailedError(f"has a certificate that is not to be trusted ({why.verify_message})")
    if isinstance(why, socket.gaierror) or getattr(why, "errno", None) in _NO_NETWORK:
        raise FailedError("cannot be reached (is this machine offline?)")
    if isinstance(why, TimeoutError):
        raise FailedError("does not answer in time", again=True)
    if isinstance(why, http.client.IncompleteRead):
        raise FailedError("cut the connection", again=True)
    text = getattr(why, "strerror", None) or str(why) or type(why).__name__
    raise FailedError(f"fails ({text})", again=not isinstance(why, str))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects lead to http and https only, and never from https back to http."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        place = urljoin(req.full_url, headers.get("Location", headers.get("URI", "")))
        if urlsplit(place).scheme not in ("http", "https"):
            fp.close()
            raise FailedError(f"redirects to {shown(place)!r}; only http and https are followed")
        if urlsplit(req.full_url).scheme == "https" and urlsplit(place).scheme == "http":
            fp.close()
            raise FailedError(f"redirects from https to {shown(place)!r}, which anyone may alter")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> urllib.request.OpenerDirector:
    """An opener without those for files, FTP and data addresses that the usual one has."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def validator_of(headers: Message) -> str:
    """The strong ETag or else the date: what If-Range takes (RFC 9110, section 13.1.5)."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def host(url: str) -> str:
    return urlsplit(url).netloc
