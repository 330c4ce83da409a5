"""The cameras of a run while some come and go: who asks, what is checked, and who is told in which order.

A camera has its camid for the whole run. One that is removed keeps its place; one that comes back, or whose entry has
changed, gets its old camid, and its tracks are numbered on.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from pipeline.cameras import Camera, camera_of, load_cameras, load_given_travel, overlapping_pairs
from pipeline.config import PipelineConfig, Regions
from pipeline.detect.build import build_detector, depends_on_cameras
from pipeline.fusion.travel import GivenTravel
from pipeline.ingest.build import LIVE, locate
from pipeline.ingest.plans import ChangeError
from pipeline.ingest.ticks import TickReader
from pipeline.ingest.urls import mask_credentials
from pipeline.live.changes import RefusedError
from pipeline.nodes import region_of
from pipeline.periodic import every
from pipeline.reading import spec_of
from pipeline.remote import Reader
from pipeline.sinks.events import CAMERA_ADDED, CAMERA_REMOVED
from pipeline.site import Site
from pipeline.transport.config import box_of
from pipeline.yaml_file import ConfigError

log = logging.getLogger(__name__)

_REMOVED = "removed://"
_LOOK_PERIOD_S = 0.2  # how often it is looked whether a signal came


class Listener(NamedTuple):
    """Who has to know the cameras before the first frame of a new one. Both may be called from any thread."""

    follow: Callable[[Sequence[str], Sequence[int]], object]  # names by camid, camids of those that are there
    keep: Callable[[Sequence[Camera], Mapping[str, Any]], object]  # cameras by camid, and what `as_they_were` needs
    log_camera: Callable[[str, int, float, str], object]


class Roster:
    """Changes the cameras of a run that goes; `pipeline.live.changes.Changes`. One change at a time, whole or not at
    all: where it can not be done a RefusedError says why, it is logged and counted, and the run goes on as before."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        cams: Path,
        reader: Reader,
        config: PipelineConfig,
        base_dir: Path,
        *,
        before: Mapping[str, Any] | None = None,
    ) -> None:
        """cams: the file that `cameras` are from, by camid. base_dir: of the paths in `config`. before: what was kept
        of a run that is gone on with, if cameras came or went in it."""
        self._slots = list(cameras)
        self._epochs = list(before["epochs"]) if before else [0] * len(self._slots)  # even: the camera is there
        self._cams, self._reader, self._config, self._base_dir = cams, reader, config, base_dir
        self._listener: Listener | None = None
        self._version = before["version"] + 1 if before else 0
        self._lock = threading.Lock()
        self.num_changes = self.num_refused = 0
        if before and isinstance(reader, TickReader):
            reader.mention([spec_of(camid, camera) for camid, camera in enumerate(cameras) if is_gone(camera)])
            reader.change([], (), self._site(self._slots, self._epochs, ()))

    def tell(self, listener: Listener) -> None:
        """From now on cameras can be changed."""
        self._listener = listener
        if self._version:  # in an earlier part of the run
            self._listen(self._slots, self._epochs)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """By camid, those that have gone included."""
        return tuple(self._slots)

    def reload(self) -> str:
        """Make the cameras those of the file."""
        with self._one_at_a_time("reload"):
            wanted, _ = load_cameras(self._cams)
            return self._change(wanted, lambda slots: load_given_travel(self._cams, slots))

    def add(self, entry: Mapping[str, Any]) -> str:
        """One camera more."""
        with self._one_at_a_time("add"):
            there = self._there()
            camera = camera_of(entry, [one.name for one in there], self._cams.parent)
            return self._change((*there, camera), lambda _: ())

    def remove(self, name: str) -> str:
        """One camera less."""
        with self._one_at_a_time("remove"):
            there = self._there()
            left = [camera for camera in there if camera.name != name]
            if len(left) == len(there):
                raise RefusedError("there is no such camera", 404)
            return self._change(left, lambda _: ())

    @contextmanager
    def _one_at_a_time(self, what: str) -> Iterator[None]:
        with self._lock:
            try:
                self._check_possible()
                yield
            except (ConfigError, ChangeError, RefusedError, ValueError) as error:
                text = mask_credentials(str(error))
                log.error("cameras stay as they are, %s is refused: %s", what, text)
                self.num_refused += 1  # who sees the count finds the reason in the log
                raise RefusedError(text, error.status if isinstance(error, RefusedError) else 400) from None

    def _check_possible(self) -> None:
        if not isinstance(self._reader, TickReader):
            raise RefusedError("the cameras are read by boxes; stop this run and start it with other cameras", 409)
        if self._config.transport.box:
            raise RefusedError("this is an edge box; stop it and start it with other cameras", 409)
        if self._config.fusion.sites:
            raise RefusedError("fusion.sites says which cameras there are; stop this run and start it anew", 409)
        if self._listener is None:
            raise RefusedError("the run has only just begun; ask again", 409)

    def _there(self) -> list[Camera]:
        return [camera for camera, epoch in zip(self._slots, self._epochs, strict=True) if epoch % 2 == 0]

    def _change(self, wanted: Sequence[Camera], given: Callable[[Sequence[Camera]], Sequence[GivenTravel]]) -> str:
        """Make the cameras these. given: travel times, of cameras by camid."""
        slots, epochs = list(self._slots), list(self._epochs)
        camid_of = {camera.name: camid for camid, camera in enumerate(slots)}
        gone = [c for c, camera in enumerate(slots) if epochs[c] % 2 == 0 and camera.name not in _names(wanted)]
        come, anew, kept = [], [], []
        for camera in wanted:
            camid = camid_of.get(camera.name)
            if camid is None:
                camid = camid_of[camera.name] = len(slots)
                slots.append(camera)
                epochs.append(0)
                come.append(camid)
            elif epochs[camid] % 2:
                epochs[camid] += 1
                come.append(camid)
            elif _view(camera) != _view(slots[camid]):
                epochs[camid] += 2
                anew.append(camid)
            elif (camera.regions, camera.overlaps) != (slots[camid].regions, slots[camid].overlaps):
                kept.append(camid)
            slots[camid] = camera
        for camid in gone:
            epochs[camid] += 1
        if not (gone or come or anew or kept):
            return "the cameras are as they were"
        if len(gone) == len(self._there()) and not come:
            raise RefusedError("a run needs a camera; stop the run instead", 409)
        boxes = [camera.name for camera in wanted if box_of(camera.source) is not None]
        if boxes:
            raise RefusedError(f"camera {boxes[0]}: a box's camera can not be read here")
        self._apply(slots, epochs, (gone, come, anew), given(slots))
        return self._tell(gone, come, anew, kept)

    def _apply(
        self,
        slots: Sequence[Camera],
        epochs: Sequence[int],
        changed: tuple[Sequence[int], Sequence[int], Sequence[int]],
        given: Sequence[GivenTravel],
    ) -> None:
        gone, come, anew = changed
        names = [camera.name for camera in slots]
        if depends_on_cameras(self._config.detect, self._base_dir):
            build_detector(self._config.detect, names, self._base_dir)
        new = range(len(self._slots), len(slots))
        given = tuple(way for way in given if way.from_camid in new or way.to_camid in new)
        assert isinstance(self._reader, TickReader)
        self._version += 1
        self._listen(slots, epochs)
        specs = [spec_of(camid, slots[camid]) for camid in (*come, *anew)]
        try:
            self._reader.change(specs, {*gone, *anew}, self._site(slots, epochs, given))
        except ChangeError:
            self._listen(self._slots, self._epochs)
            raise
        self._slots, self._epochs = list(slots), list(epochs)

    def _site(self, slots: Sequence[Camera], epochs: Sequence[int], given: tuple[GivenTravel, ...]) -> Site:
        return Site(
            version=self._version,
            names=tuple(_names(slots)),
            regions=tuple(region_of(camera) for camera in slots),
            grounds=tuple(camera.ground for camera in slots),
            overlaps=overlapping_pairs(slots),
            epochs=tuple(epochs),
            given=given,
        )

    def _listen(self, slots: Sequence[Camera], epochs: Sequence[int]) -> None:
        assert self._listener is not None
        there = [camid for camid, epoch in enumerate(epochs) if epoch % 2 == 0]
        self._listener.follow(_names(slots), there)
        kept = [camera if camid in there else _gone(camera.name) for camid, camera in enumerate(slots)]
        self._listener.keep(kept, {"names": _names(slots), "epochs": list(epochs), "version": self._version})

    def _tell(self, gone: Sequence[int], come: Sequence[int], anew: Sequence[int], kept: Sequence[int]) -> str:
        assert self._listener is not None and isinstance(self._reader, TickReader)
        self.num_changes += 1
        now_s = self._reader.now_s()
        for kind, whose in ((CAMERA_REMOVED, (*gone, *anew)), (CAMERA_ADDED, (*come, *anew))):
            for camid in whose:
                self._listener.log_camera(kind, camid, now_s, "")
        told = []
        for camids, what in ((come, "added"), (gone, "removed"), (anew, "begun anew"), (kept, "with other regions")):
            if camids:
                told.append(f"{what}: {', '.join(self._slots[camid].name for camid in camids)}")
        text = "; ".join(told)
        log.warning("cameras were changed, %s", text)
        return text


def as_they_were(cameras: Sequence[Camera], roster: Mapping[str, Any] | None) -> tuple[Camera, ...]:
    """The cameras of cams.yaml by the camids of a run that is gone on with; with a stand-in for each that had gone.

    roster: what a `Listener` was told to keep. Raises ConfigError where cameras are missing, or others are there.
    """
    if roster is None:
        return tuple(cameras)
    by_name = {camera.name: camera for camera in cameras}
    there = {name for name, epoch in zip(roster["names"], roster["epochs"], strict=True) if epoch % 2 == 0}
    for names, what in ((there - by_name.keys(), "is missing"), (by_name.keys() - there, "is new")):
        if names:
            raise ConfigError(
                f"--resume: camera {min(names)!r} {what} in cams.yaml; cameras came or went while the run went, and at "
                f"last it had {', '.join(sorted(there))}. Make the file say so; others can come once the run goes again"
            )
    if any(locate(by_name[name].source)[0] not in LIVE for name in there):
        raise ConfigError(
            "--resume: a run of recordings that were added or removed while it went can not be gone on with; "
            "`python -m pipeline recover` makes whole tables of what is there"
        )
    return tuple(by_name[name] if name in there else _gone(name) for name in roster["names"])


def _gone(name: str) -> Camera:
    """Stands for a camera that was removed."""
    return Camera(name, _REMOVED, None, 0.0, None, None, Regions(), None, (), None)


def is_gone(camera: Camera) -> bool:
    """Whether this stands for a camera that was removed before the run was gone on with."""
    return camera.source == _REMOVED


def _names(cameras: Sequence[Camera]) -> list[str]:
    return [camera.name for camera in cameras]


def _view(camera: Camera) -> tuple[object, ...]:
    """What a camera's tracks depend on: with another one they end, and others begin."""
    ground = camera.ground
    parts = () if ground is None else (ground.image_to_ground, ground.intrinsic, ground.distortion)
    shape = tuple(np.ascontiguousarray(part, np.float64).tobytes() for part in parts)
    return camera.source, camera.start_time_s, camera.offset_s, camera.fps, camera.crop, shape


class Reloading(Protocol):
    def reload(self) -> str: ...


@contextmanager
def reloaded_on_hangup(roster: Reloading) -> Iterator[None]:
    """SIGHUP reads the cameras' file again. Only in the main thread, which alone may listen to signals."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
        yield
        return
    asked = threading.Event()

    def look() -> None:
        if asked.is_set():
            asked.clear()
            with suppress(RefusedError):  # it was logged and counted
                log.info("SIGHUP: %s", roster.reload())

    before = signal.signal(signal.SIGHUP, lambda number, frame: asked.set())
    try:
        with every(_LOOK_PERIOD_S, look):
            yield
    finally:
        signal.signal(signal.SIGHUP, before)
