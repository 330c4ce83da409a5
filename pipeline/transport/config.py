"""Settings of the transport."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_serializer, model_validator

from pipeline.ingest.urls import mask_credentials
from pipeline.settings import Settings

BOX_PREFIX = "box:"
_FORBIDDEN = set(" \t\r\n*?[]{}\x00")


def _plain(name: str) -> str:
    if not name or len(name) > 128 or _FORBIDDEN & set(name):
        raise ValueError("want 1 to 128 characters without blanks, *, ?, [, ], { or }")
    return name


def _listed(value: Any) -> Any:
    """`sinks: redis` is short for `sinks: [redis]`."""
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_plain)]
SinkName = Literal["redis", "mqtt", "kafka"]


def box_of(source: str) -> str | None:
    """The box that a camera's `source` names, None for a source that is read here."""
    return source.removeprefix(BOX_PREFIX).strip() if source.startswith(BOX_PREFIX) else None


class RedisConfig(Settings):
    """A Redis server (7 or later) that carries tracklets and events.

    The address may hold a password: it is shown nowhere.
    """

    url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="redis://[user:password@]host:port/db, rediss:// for TLS, or unix:///path/to/socket; ${NAME} "
        "from environment",
    )
    site: Name = Field("site", description="name of the site; part of the streams' names")
    retention_s: float = Field(
        3600.0, gt=0, description="entries whose event time is this much older than the newest are trimmed"
    )
    max_message_bytes: int = Field(1 << 20, ge=1024, le=64 << 20, description="larger messages are refused")
    spool_messages: int = Field(
        10_000, ge=1, description="messages kept while the server is away; beyond it the oldest are dropped and counted"
    )
    close_wait_s: float = Field(5.0, ge=0, description="how long the end of a run waits for a server that is away")
    takeover_s: float = Field(
        10.0, ge=0, description="messages that another reader took and did not finish are taken over after so long"
    )
    timeout_s: float = Field(5.0, gt=0, le=600, description="a server that is silent for so long is taken as away")

    @field_serializer("url")
    def _masked(self, url: str) -> str:
        return mask_credentials(url)

    def tracklet_stream(self, edge: str) -> str:
        """The stream of one edge box's tracklets."""
        return f"crosscam:{self.site}:tracklets:{_plain(edge)}"

    @property
    def event_stream(self) -> str:
        return f"crosscam:{self.site}:events"


class _BrokerConfig(Settings):
    """What all brokers of events have in common."""

    site: Name = Field("site", description="name of the site; part of the topic's name")
    spool_messages: int = Field(
        10_000, ge=1, description="messages kept while the broker is away; beyond it some are dropped and counted"
    )
    close_wait_s: float = Field(5.0, ge=0, description="how long the end of a run waits for a broker that is away")
    timeout_s: float = Field(5.0, gt=0, le=600, description="a broker that is silent for so long is taken as away")


class MqttConfig(_BrokerConfig):
    """An MQTT broker that gets the events of a run, topic `crosscam/<site>/events`, QoS 1."""

    url: str = Field(
        "mqtt://127.0.0.1:1883",
        repr=False,
        description="mqtt://[user:password@]host[:port], mqtts:// for TLS; ${NAME} from environment",
    )

    @field_serializer("url")
    def _masked(self, url: str) -> str:
        return mask_credentials(url)

    @property
    def topic(self) -> str:
        return f"crosscam/{self.site}/events"


class KafkaConfig(_BrokerConfig):
    """A Kafka cluster that gets the events of a run, topic `crosscam.<site>.events`."""

    url: str = Field(
        "kafka://127.0.0.1:9092",
        repr=False,
        description="kafka://[user:password@]host:port[,host:port], kafkas:// for TLS; ${NAME} from environment",
    )
    sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how the user and password of the url are shown to the cluster"
    )
    retention_s: float = Field(3600.0, ge=1, description="messages that could not be sent for so long are dropped")

    @field_serializer("url")
    def _masked(self, url: str) -> str:
        return mask_credentials(url)

    @property
    def topic(self) -> str:
        return f"crosscam.{self.site}.events"


class TransportConfig(Settings):
    """What this machine gets from others and sends to others. Tracklets and events travel, never pixels."""

    box: Name | None = Field(
        None,
        description="name of this edge box: with `sinks: redis` it detects, tracks and embeds, sends its tracklets, "
        "and fuses nothing",
    )
    sources: Literal["cameras", "redis"] = Field(
        "cameras",
        description="cameras: those of cams.yaml; redis: tracklets that edge boxes send; each camera of cams.yaml then "
        "has `source: box:NAME`",
    )
    sinks: Annotated[tuple[SinkName, ...], BeforeValidator(_listed)] = Field(
        (),
        description="where to send what is found: an edge box its tracklets, any other its events; `redis`; "
        "events also to `mqtt`, `kafka`",
    )
    clock_zero: datetime | None = Field(
        None,
        description="ISO 8601, the moment at which the clock of all boxes is 0, the same on all; UTC if no zone is "
        "given. Needed unless all cameras are recordings without start_time",
    )
    max_wait_s: float | None = Field(
        None,
        ge=0,
        description="how long the central fuser waits for a box that is silent; what it sends later is dropped and "
        "counted. Unset: for ever, and nothing is lost",
    )
    follow: bool = Field(
        False, description="the central fuser goes on when all boxes have ended, as they may come back, until stopped"
    )
    redis: RedisConfig = Field(RedisConfig(), description="the Redis server that sources and sinks use")
    mqtt: MqttConfig = Field(MqttConfig(), description="the MQTT broker that `sinks: mqtt` uses")
    kafka: KafkaConfig = Field(KafkaConfig(), description="the Kafka cluster that `sinks: kafka` uses")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.box and "redis" not in self.sinks:
            raise ValueError("a box sends its tracklets through Redis: add sinks: redis")
        if self.box and set(self.sinks) != {"redis"}:
            raise ValueError(
                "a box has no events to send, only tracklets: leave mqtt and kafka to where they are fused"
            )
        if self.box and self.sources != "cameras":
            raise ValueError("a box reads cameras; leave out sources, or leave out box on the machine that fuses")
        return self

    @property
    def clock_zero_s(self) -> float | None:
        """Seconds since 1970."""
        if self.clock_zero is None:
            return None
        zone = self.clock_zero.tzinfo or UTC
        return self.clock_zero.replace(tzinfo=zone).timestamp()
