"""Events to Apache Kafka, through Confluent's client (librdkafka).

All events of a site have the site as their key, and so stay in order in one partition. The producer is idempotent: what
is sent again after a broken connection is there once. While the brokers are away messages wait; the run never does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.ingest.urls import expand_environment, mask_credentials
from pipeline.transport.config import KafkaConfig

log = logging.getLogger(__name__)

_AWAY = "_ALL_BROKERS_DOWN"


class KafkaWriter:
    """Sends messages to one topic, in order. Keeps up to `spool_messages` while the brokers are away; beyond it new
    ones are dropped, and any that is older than `retention_s`. `num_sent` are confirmed.

    Raises ValueError where confluent-kafka is missing or the address is none.
    """

    num_repeated = 0  # the broker leaves them out

    def __init__(
        self, config: KafkaConfig, environ: Mapping[str, str] = os.environ, more: Mapping[str, object] | None = None
    ) -> None:
        """more: further settings of librdkafka."""
        try:
            from confluent_kafka import Producer
        except ImportError:
            raise ValueError("transport: confluent-kafka is not installed; pip install 'crosscam[kafka]'") from None
        self._config = config
        self._key = config.site.encode()
        self._away = False
        self.num_sent = self.num_dropped = 0
        settings = {
            **_address(expand_environment(config.url, environ), config.sasl),
            "enable.idempotence": True,
            "queue.buffering.max.messages": config.spool_messages,
            "message.timeout.ms": round(1000 * config.retention_s),
            "socket.timeout.ms": max(1000, round(1000 * config.timeout_s)),
            "error_cb": self._failed,
            "logger": _Quiet(),
            **(more or {}),
        }
        self._producer = Producer(settings)

    @property
    def num_waiting(self) -> int:
        return len(self._producer)

    def send(self, event_ms: int, number: int, message: bytes) -> None:
        """Add a message with its event time. Never waits."""
        try:
            self._producer.produce(
                self._config.topic, message, self._key, timestamp=event_ms, on_delivery=self._delivered
            )
        except BufferError:
            self.num_dropped += 1
        self.tend()

    def tend(self) -> None:
        """Take in what was confirmed."""
        self._producer.poll(0)

    def close(self) -> bool:
        """Send what waits, for at most `close_wait_s` -> whether all was confirmed."""
        left = self._producer.flush(self._config.close_wait_s)
        if left:
            log.warning("%s: %d messages could not be sent: the brokers are away", self._config.topic, left)
        return not left

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.num_sent += 1
            self._away = False
        else:
            self.num_dropped += 1

    def _failed(self, error: Any) -> None:
        if not self._away:
            log.warning("%s: %s; events wait", self._config.topic, mask_credentials(error.str()))
        self._away = True


class _Quiet:
    """What the library has to say of its connections, for who wants to know."""

    def log(self, level: int, text: str, *args: object) -> None:
        log.debug("%s", mask_credentials(text % args if args else text))


def _address(url: str, sasl: str) -> dict[str, str]:
    """Settings of librdkafka. Raises ValueError, which names no password."""
    parts = urlsplit(url)
    users, at, hosts = parts.netloc.rpartition("@")
    if parts.scheme not in ("kafka", "kafkas") or not hosts:
        raise ValueError(
            "transport.kafka.url: want kafka://[user:password@]host:port[,host:port], or kafkas:// for TLS; "
            "percent-encode special characters of the password"
        )
    protocol = ("SASL_" if at else "") + ("SSL" if parts.scheme == "kafkas" else "PLAINTEXT")
    address = {"bootstrap.servers": hosts, "security.protocol": protocol}
    if at:
        user, _, password = users.partition(":")
        address |= {"sasl.mechanism": sasl, "sasl.username": unquote(user), "sasl.password": unquote(password)}
    return address
