"""The endpoint says how a run is doing, changes nothing without the token, and survives nonsense."""

from __future__ import annotations

import errno
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.live.changes import RefusedError
from pipeline.live.config import LiveConfig
from pipeline.live.figures import CameraFigures, NodeFigures, Snapshot, StreamFigures, health
from pipeline.live.server import LiveServer

RUN = Snapshot(
    wall_s=12.0,
    idle_s=0.1,
    cameras=(
        CameraFigures(
            "door", "running", num_frames=100, num_dropped=3, fps=25.0, lag_s=0.25, num_people=2, num_waiting=4
        ),
        CameraFigures('hall "é"\n', "ended", num_frames=7),
    ),
    nodes=(
        NodeFigures("detect", 0, 3.5, 107),
        NodeFigures("detect", 1, 2.5, 93),
        NodeFigures("fuse", 0, 1.0, 200, (("gallery", 12), ("identities", 5), ("tracklets", 7))),
    ),
    num_ticks=100,
    num_identities=5,
    num_merges=2,
    merges_per_minute=1.0,
    waiting={"detect-0": 2, "fuse": 1},
    journal_bytes=4096,
    journal_age_s=3.5,
    camera_changes={"done": 2, "refused": 1},
)


class Place:
    """A run to ask about."""

    def __init__(self) -> None:
        self.now, self.stopped = RUN, 0

    def stop(self) -> None:
        self.stopped += 1


class Cameras:
    """Whose cameras can be changed."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def reload(self) -> str:
        self.asked.append("reload")
        return "the cameras are as they were"

    def add(self, entry: object) -> str:
        if entry == {"id": "bad"}:
            raise RefusedError("source: missing")
        self.asked.append(entry)
        return "added"

    def remove(self, name: str) -> str:
        if name == "nobody":
            raise RefusedError("there is no such camera", 404)
        self.asked.append(name)
        return "removed"


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def cameras() -> Cameras:
    return Cameras()


@pytest.fixture(params=["t0ken"])
def server(request, place: Place, cameras: Cameras):
    environ = {"CROSSCAM_TOKEN": request.param} if request.param else {}
    config = LiveConfig(port=0, max_clients=4)
    with LiveServer(config, lambda: place.now, {"stop": place.stop}, environ, changes=cameras) as server:
        yield server


def ask(
    server: LiveServer, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_run_without_cameras_is_starting() -> None:
    assert health(Snapshot(0.0, None, ()), 10)[0] == "starting"


def test_health_tells_who_is_not_well(server: LiveServer, place: Place) -> None:
    status, body = ask(server, "/health")
    assert status == 200 and json.loads(body)["status"] == "ok" and json.loads(body)["cameras"]["door"] == "running"
    place.now = replace(RUN, cameras=(replace(RUN.cameras[0], state="reconnecting"), RUN.cameras[1]))
    status, body = ask(server, "/health")
    assert status == 200 and json.loads(body)["status"] == "degraded"
    place.now = replace(RUN, idle_s=60.0)
    assert ask(server, "/health")[0] == 503


def test_a_run_whose_cameras_have_all_ended_is_not_stalled() -> None:
    over = replace(RUN, idle_s=999.0, cameras=(replace(RUN.cameras[0], state="ended"),))
    assert health(over, 10)[0] == "ok"


def test_metrics_are_those_of_the_snapshot_in_prometheus_terms(server: LiveServer) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    status, body = ask(server, "/metrics")
    assert status == 200
    samples = {
        (s.name, *sorted(s.labels.items())): s.value for f in text_string_to_metric_families(body) for s in f.samples
    }
    assert samples["crosscam_camera_frames_total", ("camera", "door")] == 100
    assert samples["crosscam_camera_frames_total", ("camera", 'hall "é"\n')] == 7
    assert samples["crosscam_camera_lag_seconds", ("camera", "door")] == 0.25
    assert samples["crosscam_stage_busy_seconds_total", ("stage", "detect"), ("worker", "1")] == 2.5
    assert samples[("crosscam_identity_merges_total",)] == 2
    assert samples["crosscam_camera_state", ("camera", "door"), ("state", "running")] == 1
    assert samples["crosscam_camera_frames_waiting", ("camera", "door")] == 4
    assert ("crosscam_camera_frames_waiting", ("camera", 'hall "é"\n')) not in samples  # not known
    assert samples[("crosscam_gallery_size",)] == 12 and samples[("crosscam_tracklets_size",)] == 7
    assert samples["crosscam_ticks_waiting", ("worker", "detect-0")] == 2
    assert samples[("crosscam_identity_merges_per_minute",)] == 1
    assert samples[("crosscam_journal_bytes",)] == 4096 and samples[("crosscam_journal_age_seconds",)] == 3.5
    assert samples["crosscam_camera_changes_total", ("result", "refused")] == 1


def test_what_went_to_other_machines_and_what_was_refused_is_counted(server: LiveServer, place: Place) -> None:
    west = StreamFigures("box:west", num_waiting=3, refused=(("bad_field", 2), ("not_json", 1)))
    place.now = replace(RUN, streams=(StreamFigures("redis", num_sent=9, num_dropped=1), west))
    ask(server, "/nothing")
    body = ask(server, "/metrics")[1]
    assert 'crosscam_stream_sent_total{stream="redis"} 9.0' in body
    assert 'crosscam_stream_refused_total{reason="bad_field",stream="box:west"} 2.0' in body
    assert 'crosscam_http_refused_total{status="404"} 1.0' in body


HOSTILE = {
    "a body that is announced and never comes": b"POST /stop HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "a negative length": b"POST /stop HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "a line of 100,000 bytes": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a header of 100,000 bytes": b"GET /health HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "a thousand headers": b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "control characters": b"GET /\x00\x07\x1b[31m HTTP/1.1\r\n\r\n",
    "a path out of here": b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    "another version": b"GET /health HTTP/9.9\r\n\r\n",
    "another method": b"BREW /health HTTP/1.1\r\n\r\n",
    "no host and a token of bytes": b"POST /stop HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    "two hosts": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
}


@contextmanager
def hung_up() -> Iterator[None]:
    """The server may hang up while it is still being talked to."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
            raise


@pytest.mark.parametrize("name", HOSTILE)
def test_requests_that_are_nonsense_are_refused_counted_and_harm_nothing(
    server: LiveServer, place: Place, name: str
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        with hung_up():
            client.sendall(HOSTILE[name])
            client.shutdown(socket.SHUT_WR)
        with hung_up():
            answer = client.recv(4096)
            assert not answer.startswith(b"HTTP/1.0 2") or name == "two hosts"
    assert ask(server, "/health")[0] == 200 and place.stopped == 0
    assert sum(server.refused.values()) == 1 or name == "two hosts"


def test_what_changes_a_run_needs_the_token(server: LiveServer, place: Place) -> None:
    assert ask(server, "/stop", "POST")[0] == 401
    assert ask(server, "/stop", "POST", Authorization="Bearer wrong")[0] == 401
    assert ask(server, "/stop", "POST", Authorization="Bearer t0keé")[0] == 401
    assert ask(server, "/stop")[0] == 404  # a GET changes nothing
    assert place.stopped == 0
    assert ask(server, "/stop", "POST", Authorization="Bearer t0ken")[0] == 202
    assert place.stopped == 1
    assert server.refused == {401: 3, 404: 1}


def test_cameras_are_changed_by_who_has_the_token(server: LiveServer, cameras: Cameras) -> None:
    entry = b'{"id": "hall", "source": "rtsp://admin:S3cr3t@10.0.0.7/"}'
    for path, method in (("/cameras", "POST"), ("/cameras/hall", "DELETE"), ("/reload", "POST")):
        assert ask(server, path, method, entry)[0] == 401
        assert ask(server, path, method, entry, Authorization="Bearer t0k")[0] == 401
    assert cameras.asked == []
    key = {"Authorization": "Bearer t0ken"}
    assert ask(server, "/cameras", "POST", entry, **key) == (202, "added\n")
    assert ask(server, "/cameras/h%C3%A4ll%2F1%20b", "DELETE", **key) == (202, "removed\n")
    assert ask(server, "/reload", "POST", **key)[0] == 202
    assert cameras.asked == [json.loads(entry), "häll/1 b", "reload"]
    assert ask(server, "/cameras/nobody", "DELETE", **key) == (404, "there is no such camera\n")
    assert ask(server, "/cameras", "POST", b'{"id": "bad"}', **key) == (400, "source: missing\n")
    assert ask(server, "/cameras", "DELETE", **key)[0] == ask(server, "/cameras/", "DELETE", **key)[0] == 404
    assert ask(server, "/cameras", "GET", **key)[0] == 404


BAD_BODIES = {
    "no JSON": b"id: hall",
    "not an object": b"[1]",
    "cut off": b'{"id": "hall"',
    "no number": b'{"id": NaN}',
    "no UTF-8": b'{"id": "\xff\xfe"}',
    "deep": b"[" * 30_000,
    "a number of many digits": b'{"fps": ' + b"9" * 10_000 + b"}",
    "nothing": b"",
    "too large": b" " * 70_000 + b"{}",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bodies_that_are_nonsense_are_refused_counted_and_change_nothing(
    server: LiveServer, cameras: Cameras, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = BAD_BODIES[name]
    with suppress(urllib.error.URLError, ConnectionError):  # who sends too much may be cut off
        status, text = ask(server, "/cameras", "POST", body, Authorization="Bearer t0ken")
        assert status == (413 if name == "too large" else 400) and len(text) < 200
    assert cameras.asked == [] and sum(server.refused.values()) == 1 and "t0ken" not in caplog.text
    assert ask(server, "/health")[0] == 200


HOSTILE_LENGTHS = {
    "no length": b"",
    "a negative length": b"Content-Length: -1\r\n",
    "no number": b"Content-Length: ten\r\n",
    "a huge length": b"Content-Length: 99999999999999999999999\r\n",
    "more than there is": b"Content-Length: 500\r\n",
    "chunks": b"Transfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("name", HOSTILE_LENGTHS)
def test_lengths_that_are_nonsense_are_refused_even_with_the_token(
    server: LiveServer, cameras: Cameras, name: str
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        head = b"POST /cameras HTTP/1.1\r\nAuthorization: Bearer t0ken\r\n" + HOSTILE_LENGTHS[name]
        with hung_up():
            client.sendall(head + b"\r\n{}")
            client.shutdown(socket.SHUT_WR)
        assert client.recv(4096).startswith(b"HTTP/1.0 4")
    assert cameras.asked == [] and sum(server.refused.values()) == 1


def test_the_token_may_stand_in_a_file(place: Place, tmp_path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    config = LiveConfig(port=0, token_file=str(tmp_path / "token"))
    with LiveServer(config, lambda: RUN, {"stop": place.stop}, {"CROSSCAM_TOKEN": "other"}) as server:
        assert ask(server, "/stop", "POST", Authorization="Bearer other")[0] == 401
        assert ask(server, "/stop", "POST", Authorization="Bearer from-file")[0] == 202
    for content in (b"", b" \n", b"\xff"):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(ValueError, match="token_file"):
            LiveServer(config, lambda: RUN, {}, {})


@pytest.mark.parametrize("server", [""], indirect=True)
def test_without_a_token_nothing_can_be_changed(server: LiveServer, place: Place) -> None:
    assert ask(server, "/stop", "POST")[0] == 403
    assert ask(server, "/stop", "POST", Authorization="Bearer ")[0] == 403
    assert place.stopped == 0 and ask(server, "/health")[0] == 200


def test_an_address_that_others_can_reach_needs_the_token_for_everything(place: Place) -> None:
    config = LiveConfig(host="0.0.0.0", port=0)
    with pytest.raises(ValueError, match="CROSSCAM_TOKEN"):
        LiveServer(config, lambda: RUN, {}, {})
    with LiveServer(config, lambda: RUN, {}, {"CROSSCAM_TOKEN": "x"}) as server:
        assert ask(server, "/health")[0] == 401 and ask(server, "/health", Authorization="Bearer x")[0] == 200


def test_a_page_of_another_site_can_not_read_through_the_browser(server: LiveServer) -> None:
    assert ask(server, "/metrics", Host="evil.example")[0] == 400
    assert ask(server, "/metrics", Host=f"localhost:{server.port}")[0] == 200


def test_a_port_in_use_is_told_with_its_number(server: LiveServer) -> None:
    with pytest.raises(ValueError, match=str(server.port)):
        LiveServer(LiveConfig(port=server.port), lambda: RUN, {}, {})


def test_a_snapshot_that_fails_costs_that_answer_only(server: LiveServer, place: Place, caplog) -> None:
    place.now = None
    assert ask(server, "/health")[0] == 500
    place.now = RUN
    assert ask(server, "/health")[0] == 200


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_leave_it_alive(server: LiveServer, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client, hung_up():
        client.sendall(data + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    assert ask(server, "/health")[0] == 200


def test_clients_that_say_nothing_take_only_so_many_places(server: LiveServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    try:
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            for _ in range(50):
                ask(server, "/health")
        assert server.refused[503] >= 1
    finally:
        for client in silent:
            client.close()
