"""A web server on this machine that misbehaves on request.

with Server() as server:
    server.files["/set.zip"] = b"..."
    server.cut_after["/set.zip"] = [1000, 2000]     # the first two answers end early
    server.url("/set.zip")
"""

import contextlib
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """What it serves, how it fails, and what was asked of it.

    Args:
        files: Content by path.
        cut_after: Bytes after which the next answers for a path end, each used once.
        codes: Status codes that the next requests for a path get, each used once.
        redirects: Where a path leads.
        headers: What is added to the answers, or replaces what stands there; None leaves out.
        ranges: Whether ranges are served.
        asked: (path, Range, If-Range) of every request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_after: dict[str, list[int]] = defaultdict(list)
        self.codes: dict[str, list[int]] = defaultdict(list)
        self.redirects: dict[str, str] = {}
        self.headers: dict[str, str | None] = {}
        self.etags: dict[str, str] = {}
        self.ranges = True
        self.asked: list[tuple[str, str | None, str | None]] = []

    def __enter__(self) -> "Server":
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._thread = thread
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}{path}"


class _Handler(BaseHTTPRequestHandler):
    server_of: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, path = self.server_of, self.path
        wanted, if_range = self.headers.get("Range"), self.headers.get("If-Range")
        server.asked.append((path, wanted, if_range))
        if path in server.redirects:
            self._answer(302, {"Location": server.redirects[path], "Content-Length": "0"})
            return
        if server.codes[path]:
            self._answer(server.codes[path].pop(0), {"Content-Length": "0"})
            return
        if path not in server.files:
            self._answer(404, {"Content-Length": "0"})
            return
        body = server.files[path]
        etag = server.etags.get(path, '"1"')
        start = 0
        if wanted and server.ranges and if_range in (None, etag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        headers: dict[str, str | None] = {"ETag": etag, "Content-Type": "application/octet-stream"}
        if start >= len(body) and start:
            self._answer(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        headers["Content-Length"] = str(len(body) - start)
        self._answer(206 if start else 200, headers | server.headers)
        body = body[start:]
        if server.cut_after[path]:
            body = body[: server.cut_after[path].pop(0)]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def _answer(self, code: int, headers: dict[str, str | None]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
