"""Events to an MQTT broker (MQTT 3.1.1, https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/), for dashboards and automation.

What is sent is confirmed by the broker (QoS 1): after a broken connection a message may come twice. While the broker is
away messages wait; the run never does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.ingest.urls import expand_environment
from pipeline.transport.config import MqttConfig

log = logging.getLogger(__name__)

_UNDER_WAY = 64  # sent and not yet confirmed
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_RETRY_S = (1, 30)  # first and longest wait between two tries to connect
_POLL_S = 0.02


class MqttWriter:
    """Sends messages to one topic, in order. Keeps up to `spool_messages` while the broker is away; beyond it the
    oldest are dropped. `num_sent` are confirmed.

    Raises ValueError where paho-mqtt is missing or the address is none.
    """

    num_repeated = 0  # nobody tells

    def __init__(self, config: MqttConfig, environ: Mapping[str, str] = os.environ) -> None:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise ValueError("transport: paho-mqtt is not installed; pip install 'crosscam[mqtt]'") from None
        self._config = config
        self._spool: deque[bytes] = deque()
        self._open: set[int] = set()  # sent, not confirmed
        self._confirmed: deque[int] = deque()  # by the client's thread, which must not wait for us
        self._lock = threading.Lock()
        self._away = False
        self._closed = False
        self.num_sent = self.num_dropped = 0
        host, port, user, password, is_tls = _parts(expand_environment(config.url, environ))
        client = self._client = Client(CallbackAPIVersion.VERSION2)
        client.max_inflight_messages_set(_UNDER_WAY)
        client.reconnect_delay_set(*_RETRY_S)
        client.connect_timeout = config.timeout_s
        if user:
            client.username_pw_set(user, password)
        if is_tls:
            client.tls_set()
        client.on_connect, client.on_disconnect = self._connected, self._lost
        client.on_connect_fail = self._failed
        client.on_publish = lambda client, data, mid, *_: self._confirmed.append(mid)
        client.connect_async(host, port)
        client.loop_start()

    @property
    def num_waiting(self) -> int:
        return len(self._spool) + len(self._open)

    def send(self, event_ms: int, number: int, message: bytes) -> None:
        """Add a message; its time and number are in it. Never waits."""
        with self._lock:
            if self.num_waiting >= self._config.spool_messages:
                self.num_dropped += 1
                if not self._spool:
                    return
                self._spool.popleft()
            self._spool.append(message)
        self.tend()

    def close(self) -> bool:
        """Send what waits, for at most `close_wait_s` -> whether all was confirmed."""
        deadline_s = time.monotonic() + self._config.close_wait_s
        while self.num_waiting and time.monotonic() < deadline_s:
            self.tend()
            time.sleep(_POLL_S)
        self._closed = True
        self._client.disconnect()
        self._client.loop_stop()
        if self.num_waiting:
            log.warning("%s: %d messages could not be sent: the broker is away", self._config.topic, self.num_waiting)
        return not self.num_waiting

    def tend(self) -> None:
        """Send what waits, if the broker is there."""
        with self._lock:
            while self._confirmed:
                self._open.discard(self._confirmed.popleft())
                self.num_sent += 1
            while self._spool and len(self._open) < _UNDER_WAY and self._client.is_connected():
                self._open.add(self._client.publish(self._config.topic, self._spool.popleft(), qos=1).mid)

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, *_: Any) -> None:
        if reason.is_failure:
            log.error("%s: the broker refuses the connection: %s; events wait", self._config.topic, reason)
        elif self._away:
            log.info("%s: the broker is back", self._config.topic)
        self._away = reason.is_failure

    def _lost(self, *_: Any) -> None:
        self._failed()

    def _failed(self, *_: Any) -> None:
        if not self._away and not self._closed:
            log.warning("%s: the broker is away; events wait", self._config.topic)
        self._away = True


def _parts(url: str) -> tuple[str, int, str, str, bool]:
    """Host, port, user, password, and whether it is to be TLS. Raises ValueError, which names no password."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        if not parts.hostname:
            raise ValueError
    except (ValueError, KeyError):
        raise ValueError(
            "transport.mqtt.url: want mqtt://[user:password@]host[:port], or mqtts:// for TLS; percent-encode "
            "special characters of the password"
        ) from None
    return parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or ""), parts.scheme == "mqtts"
