"""Events to MQTT (a real mosquitto) and to Kafka (the cluster that librdkafka brings along for tests: it speaks Kafka's
protocol over a real socket, but keeps everything in memory). Brokers that are away never hold up a run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import load_pipeline
from pipeline.remote import open_senders
from pipeline.transport.config import KafkaConfig, MqttConfig, TransportConfig
from pipeline.transport.messages import decode_event
from pipeline.transport.sinks import EventSink
from pipeline.types import Event
from pipeline.yaml_file import ConfigError
from tests.transport.frames import NAMES, fused

CAMIDS = {name: camid for camid, name in enumerate(NAMES)}
PASSWORD = "S3cr3t/@:Z"
ENCODED = "S3cr3t%2F%40%3AZ"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto (Debian: apt install mosquitto)")


def event(number: int) -> Event:
    return Event("create", 0.1 * number, number, number % 2, number, confidence=0.5)


def until(done: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline_s = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return done()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Mosquitto:
    """A broker on a port of its own, with a user and a password, that remembers what was not fetched."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "users").touch(mode=0o600)
        tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
        subprocess.run([tool, "-b", str(folder / "users"), "box", PASSWORD], check=True, capture_output=True)
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {folder / 'users'}\n"
            f"user {os.environ.get('USER', 'root')}\n"
        )
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([MOSQUITTO, "-c", self.config], stderr=subprocess.DEVNULL)
        assert until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def settings(self, **changes) -> MqttConfig:
        return MqttConfig(url=f"mqtt://box:{ENCODED}@127.0.0.1:{self.port}", site="north", **changes)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def heard(broker: Mosquitto) -> Iterator[list[bytes]]:
    """What a listener gets."""
    paho = pytest.importorskip("paho.mqtt.client", reason="needs the extra [mqtt]")
    messages: list[bytes] = []
    ready: list[int] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.reconnect_delay_set(1, 1)
    client.username_pw_set("box", PASSWORD)
    client.on_connect = lambda c, *_: c.subscribe("crosscam/north/#", qos=1)
    client.on_subscribe = lambda *_: ready.append(1)
    client.on_message = lambda c, d, message: messages.append(message.payload)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert until(lambda: bool(ready))
    yield messages
    client.disconnect()
    client.loop_stop()


@needs_mosquitto
def test_events_reach_who_listens_over_mqtt_in_order_and_exact(broker: Mosquitto, heard: list[bytes]) -> None:
    from pipeline.transport.mqtt import MqttWriter

    with EventSink(MqttWriter(broker.settings()), NAMES, clock_zero_s=1000.0) as sink:
        for number in range(1, 201):
            sink.write([fused(0.1 * number, event(number))])
    assert until(lambda: len(heard) >= 200)
    assert [repr(decode_event(data, CAMIDS)) for data in heard] == [repr(event(number)) for number in range(1, 201)]
    assert (sink.writer.num_sent, sink.writer.num_dropped, sink.writer.num_waiting) == (200, 0, 0)


@needs_mosquitto
def test_a_broker_that_was_killed_gets_what_waited_and_the_rest_is_counted(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    from pipeline.transport.mqtt import MqttWriter

    writer = MqttWriter(broker.settings(spool_messages=50))
    writer.send(1, 1, b"{}")
    assert until(lambda: writer.tend() or writer.num_sent == 1)
    broker.kill()
    assert until(lambda: "away" in caplog.text)
    started_s = time.monotonic()
    for number in range(120):
        writer.send(1, number, b"{}")
    assert time.monotonic() - started_s < 2.0
    assert (writer.num_waiting, writer.num_dropped) == (50, 70)
    broker.start()
    assert writer.close() and writer.num_sent == 51
    assert PASSWORD not in caplog.text and ENCODED not in caplog.text


@needs_mosquitto
def test_a_wrong_password_is_told_and_shown_nowhere(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    from pipeline.transport.mqtt import MqttWriter

    writer = MqttWriter(MqttConfig(url=f"mqtt://box:S3cr3tWrong@127.0.0.1:{broker.port}", close_wait_s=0.1))
    writer.send(1, 1, b"{}")
    assert until(lambda: "refuses the connection" in caplog.text)
    assert not writer.close() and writer.num_waiting == 1 and "S3cr3t" not in caplog.text


def test_nobody_at_the_address_costs_a_run_no_more_than_the_end_s_wait() -> None:
    pytest.importorskip("paho.mqtt.client", reason="needs the extra [mqtt]")
    pytest.importorskip("confluent_kafka", reason="needs the extra [kafka]")
    port = free_port()
    config = TransportConfig(
        sinks=("mqtt", "kafka"),
        mqtt=MqttConfig(url=f"mqtt://127.0.0.1:{port}", spool_messages=10, close_wait_s=0.1),
        kafka=KafkaConfig(url=f"kafka://127.0.0.1:{port}", spool_messages=10, close_wait_s=0.1),
    )
    with open_senders(config, NAMES, None) as senders:
        for number in range(1, 31):
            senders.write([fused(0.1 * number, event(number))])
        figures = {one.name: one for one in senders.figures()}
    assert {name: (one.num_sent, one.num_dropped, one.num_waiting) for name, one in figures.items()} == {
        "mqtt": (0, 20, 10),
        "kafka": (0, 20, 10),
    }


def test_events_reach_kafka_in_order_with_their_time_and_the_site_as_key() -> None:
    kafka = pytest.importorskip("confluent_kafka", reason="needs the extra [kafka]")
    from pipeline.transport.kafka import KafkaWriter

    writer = KafkaWriter(KafkaConfig(site="north"), more={"test.mock.num.brokers": 1})
    with EventSink(writer, NAMES, clock_zero_s=1000.0) as sink:
        for number in range(1, 101):
            sink.write([fused(0.1 * number, event(number))])
        assert until(lambda: writer.tend() or writer.num_sent == 100)
        broker = next(iter(writer._producer.list_topics(timeout=5).brokers.values()))
        listener = kafka.Consumer(
            {
                "bootstrap.servers": f"{broker.host}:{broker.port}",
                "group.id": "test",
                "auto.offset.reset": "earliest",
            }
        )
        listener.subscribe(["crosscam.north.events"])
        heard: list = []
        assert until(lambda: heard.extend(listener.consume(100, 0.2)) or len(heard) >= 100, 20)
        listener.close()
    assert [repr(decode_event(m.value(), CAMIDS)) for m in heard] == [repr(event(n)) for n in range(1, 101)]
    assert {m.key() for m in heard} == {b"north"} and heard[0].timestamp()[1] == 1000_100


@pytest.mark.parametrize("sink", ["mqtt", "kafka"])
def test_an_address_that_is_none_is_told_without_its_password(sink: str, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip({"mqtt": "paho.mqtt.client", "kafka": "confluent_kafka"}[sink])
    for url in (f"ftp://u:{ENCODED}@host", f"{sink}://u:{ENCODED}@", f"{sink}://u:{ENCODED}@:99999999"):
        config = load_pipeline(None, [f"transport.{sink}.url='{url}'", f"transport.sinks={sink}"])
        if sink == "kafka" and url.endswith("9"):
            continue  # librdkafka looks such names up, and waits
        with pytest.raises(ValueError, match=f"transport.{sink}.url") as told:
            open_senders(config.transport, NAMES, None)
        assert ENCODED not in str(told.value) + repr(config) + str(config.model_dump(mode="json")["transport"][sink])
    assert ENCODED not in caplog.text


def test_a_box_sends_tracklets_and_so_nothing_to_brokers_of_events() -> None:
    with pytest.raises(ConfigError, match="a box has no events"):
        load_pipeline(None, ["transport.box=west", "transport.sinks=[redis, mqtt]"])
