"""GET /health, GET /metrics and, with the token, POST of what changes a run. Answers come from snapshots."""

from __future__ import annotations

import hmac
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from pipeline.live.config import LiveConfig
from pipeline.live.figures import Metric, Snapshot, health, metrics

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_MAX_HEADERS = 64  # the standard library's own limit on a header line is 64 KiB
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")


class LiveServer:
    """Serves the figures of a run in threads of its own; a context manager.

    `snapshot` is called for every request, from any thread. `actions` are what `POST /<name>` does: nothing without
    the token, which the environment variable of `config` holds. Raises ValueError where the address can not be used,
    or prometheus-client is missing.
    """

    def __init__(
        self,
        config: LiveConfig,
        snapshot: Callable[[], Snapshot],
        actions: Mapping[str, Callable[[], object]],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        token = environ.get(config.token_env, "")
        if not config.is_private and not token:
            raise ValueError(
                f"live.host {config.host} can be reached from other machines, which needs a token: "
                f"set the environment variable {config.token_env}, or listen on 127.0.0.1"
            )
        if find_spec("prometheus_client") is None:
            raise ValueError("live: prometheus-client is not installed; pip install 'crosscam[live]'")
        self._site = _Site(config, snapshot, dict(actions), token)
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
    ) -> None:
        self.config = config
        self.token = token
        self.refused: dict[int, int] = {}
        self._snapshot = snapshot
        self._actions = actions
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, allowed: bool) -> tuple[int, str, bytes]:
        """Status, content type and body. `allowed`: the request has the token."""
        if not self.config.is_private and not allowed:
            return _text(401, "this address needs the token: Authorization: Bearer <token>")
        if method in ("GET", "HEAD"):
            if path == "/health":
                status, body = health(self._snapshot(), self.config.stalled_s)
                return (503 if status == "stalled" else 200), "application/json", json.dumps(body).encode()
            if path == "/metrics":
                return 200, *_exposition([*metrics(self._snapshot()), self._refusals()])
            return _text(404, "there are /health and /metrics")
        action = self._actions.get(path.removeprefix("/"))
        if action is None:
            return _text(404, f"there are {', '.join('/' + name for name in sorted(self._actions)) or 'no actions'}")
        if not self.token:
            return _text(403, f"nothing can be changed: the environment variable {self.config.token_env} is not set")
        if not allowed:
            return _text(401, "this needs the token: Authorization: Bearer <token>")
        log.warning("live: %s was asked for", path)
        action()
        return _text(202, "done")

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

    def _serve(self) -> None:
        site = self.server.site
        self.close_connection = True
        if len(self.headers) > _MAX_HEADERS or not self._is_for_us():
            self._send(*_text(400, "not for this server"))
            return
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        allowed = bool(site.token) and hmac.compare_digest(given.encode(), site.token.encode())
        try:
            answer = site.answer(self.command, self.path.partition("?")[0], allowed)
        except Exception:
            log.exception("live: %s failed", self.command)
            answer = _text(500, "failed; the log says why")
        self._send(*answer)

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


def _text(status: int, text: str) -> tuple[int, str, bytes]:
    return status, "text/plain; charset=utf-8", (text + "\n").encode()
