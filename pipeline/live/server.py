"""GET /health, GET /metrics and, with the token, what changes a run. Answers come from snapshots.

POST /stop              end the run as Ctrl-C does
POST /reload            read the cameras' file again
POST /cameras           add a camera; the body is its entry, as JSON
DELETE /cameras/NAME    remove a camera
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from pipeline.live.changes import Changes, RefusedError, body_length, entry_of
from pipeline.live.config import LiveConfig
from pipeline.live.figures import Metric, Snapshot, health, metrics

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_MAX_HEADERS = 64  # the standard library's own limit on a header line is 64 KiB
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")


class LiveServer:
    """Serves the figures of a run in threads of its own; a context manager.

    `snapshot` is called for every request, from any thread. `actions` are what `POST /<name>` does, `changes` what
    is done to cameras: nothing without the token, which the file or the environment variable of `config` holds. Raises
    ValueError where the address or the token can not be used, or prometheus-client is missing.
    """

    def __init__(
        self,
        config: LiveConfig,
        snapshot: Callable[[], Snapshot],
        actions: Mapping[str, Callable[[], object]],
        environ: Mapping[str, str] = os.environ,
        changes: Changes | None = None,
    ) -> None:
        token = _token(config, environ)
        if not config.is_private and not token:
            raise ValueError(
                f"live.host {config.host} can be reached from other machines, which needs a token: "
                f"set the environment variable {config.token_env}, or listen on 127.0.0.1"
            )
        if find_spec("prometheus_client") is None:
            raise ValueError("live: prometheus-client is not installed; pip install 'crosscam[live]'")
        self._site = _Site(config, snapshot, dict(actions), token, changes)
        try:
            self._server = _Server((config.host, config.port), _Handler, self._site)
        except OSError as error:
            raise ValueError(f"live: can not listen on {config.host}:{config.port}: {error.strerror}") from error
        self._thread = threading.Thread(name="live", target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def refused(self) -> Mapping[int, int]:
        """How many requests got each answer of 400 and above."""
        return dict(self._site.refused)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Site:
    """What the handlers of all requests share."""

    def __init__(
        self,
        config: LiveConfig,
        snapshot: Callable[[], Snapshot],
        actions: Mapping[str, Callable[[], object]],
        token: str,
        changes: Changes | None,
    ) -> None:
        self.config = config
        self._changes = changes
        self.token = token
        self.refused: dict[int, int] = {}
        self._snapshot = snapshot
        self._actions = actions
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, allowed: bool, body: Callable[[], bytes]) -> tuple[int, str, bytes]:
        """Status, content type and body. `allowed`: the request has the token; `body` reads what came with it."""
        if not self.config.is_private and not allowed:
            return _text(401, "this address needs the token: Authorization: Bearer <token>")
        if method in ("GET", "HEAD"):
            if path == "/health":
                status, told = health(self._snapshot(), self.config.stalled_s)
                return (503 if status == "stalled" else 200), "application/json", json.dumps(told).encode()
            if path == "/metrics":
                return 200, *_exposition([*metrics(self._snapshot()), self._refusals()])
            return _text(404, "there are /health and /metrics")
        action = self._action(method, path, body)
        if action is None:
            return _text(404, "there are POST /stop, POST /reload, POST /cameras and DELETE /cameras/NAME")
        if not self.token:
            return _text(403, f"nothing can be changed: the environment variable {self.config.token_env} is not set")
        if not allowed:
            return _text(401, "this needs the token: Authorization: Bearer <token>")
        try:
            done = action()
        except RefusedError as error:
            return _text(error.status, str(error))
        return _text(202, done if isinstance(done, str) else "done")

    def _action(self, method: str, path: str, body: Callable[[], bytes]) -> Callable[[], object] | None:
        """What a request asks for, None where there is no such thing."""
        changes, name = self._changes, path.removeprefix("/")
        if method == "POST" and name in self._actions:
            log.warning("live: %s was asked for", path)
            return self._actions[name]
        if changes is None:
            return None
        if (method, name) == ("POST", "reload"):
            return changes.reload
        if (method, name) == ("POST", "cameras"):
            return lambda: changes.add(entry_of(body()))
        camera = name.removeprefix("cameras/")
        return (lambda: changes.remove(unquote(camera))) if method == "DELETE" and camera not in (name, "") else None

    def _refusals(self) -> Metric:
        with self._lock:
            samples = tuple(((str(status),), float(number)) for status, number in sorted(self.refused.items()))
        return Metric(
            "crosscam_http_refused", "counter", "Requests that were refused, by answer.", ("status",), samples
        )

    def count(self, status: int) -> None:
        if status >= 400:
            with self._lock:
                self.refused[status] = self.refused.get(status, 0) + 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], site: _Site) -> None:
        self.site = site
        self._places = threading.BoundedSemaphore(site.config.max_clients)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.site.count(503)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("live: a client went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT_S
    server_version = "crosscam"
    sys_version = ""

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        site = self.server.site
        self.close_connection = True
        if len(self.headers) > _MAX_HEADERS or not self._is_for_us():
            self._send(*_text(400, "not for this server"))
            return
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        allowed = bool(site.token) and hmac.compare_digest(given.encode(), site.token.encode())
        try:
            answer = site.answer(self.command, self.path.partition("?")[0], allowed, self._body)
        except TimeoutError:
            answer = _text(408, "the body did not come")
        except Exception:
            log.exception("live: %s failed", self.command)
            answer = _text(500, "failed; the log says why")
        self._send(*answer)

    def _body(self) -> bytes:
        length = body_length(self.headers.get("Content-Length"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise RefusedError("the body is cut off")
        return body

    def _is_for_us(self) -> bool:
        """A page of another site must not read figures through the browser of who works on this machine."""
        host = self.headers.get("Host", "localhost")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return not self.server.site.config.is_private or name in _LOCAL_NAMES or name == self.server.site.config.host

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_response(self, code: int, message: str | None = None) -> None:
        self.server.site.count(code)
        super().send_response(code, message)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("live: a request was answered")  # not what was asked: it may hold a secret


def _exposition(wanted: Sequence[Metric]) -> tuple[str, bytes]:
    """The metrics in Prometheus' text format, written by its own client."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.exposition import CONTENT_TYPE_LATEST

    class Once:
        def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
            for metric in wanted:
                family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                built = family(metric.name, metric.about, labels=metric.labels)
                for labels, value in metric.samples:
                    built.add_metric(labels, value)
                yield built

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return CONTENT_TYPE_LATEST, generate_latest(registry)


def _token(config: LiveConfig, environ: Mapping[str, str]) -> str:
    """What who wants to change something has to know; empty: nobody may. Raises ValueError."""
    if config.token_file is None:
        return environ.get(config.token_env, "")
    try:
        token = Path(config.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"live.token_file: {config.token_file} can not be read: {error}") from None
    if not token:
        raise ValueError(f"live.token_file: {config.token_file} is empty; write the token into it")
    return token


def _text(status: int, text: str) -> tuple[int, str, bytes]:
    return status, "text/plain; charset=utf-8", (text + "\n").encode()
