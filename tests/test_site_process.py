"""A process for each site: the same decisions as in one, and what happens where one is lost."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.factories import FuseFactory
from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.site_fuser import SiteJob
from pipeline.fusion.sites import SiteFusers
from pipeline.saved_state import StateError, load_state, save_state
from pipeline.site_process import STATE_MODULES, SiteLostError, SiteProcess
from pipeline.types import EmbeddedFrame, FusedFrame
from tests.fusion.scenes import DIM, look
from tests.fusion.test_sites import NEIGHBOURS, crowd, events_of, fuser_of

MODULES = (*STATE_MODULES, "pipeline.site_process")
NAMES = tuple("abcd")


@pytest.fixture
def processes() -> list[SiteProcess]:
    return []


@pytest.fixture
def apart(processes: list[SiteProcess]) -> Callable[[], SiteFusers]:
    def make() -> SiteFusers:
        def start(job: SiteJob) -> SiteProcess:
            processes.append(SiteProcess(job))
            return processes[-1]

        config = FusionConfig.model_validate({"sites": NEIGHBOURS, "site_processes": True})
        fuser = build_fuser(config, [None] * 4, frozenset(), DIM, TravelMemory(config, NAMES), start)
        assert isinstance(fuser, SiteFusers)
        return fuser

    return make


def ticks() -> list[list[EmbeddedFrame]]:
    rng = np.random.default_rng(0)
    people = look(rng, 8)
    frames = [*crowd([0, 1], rng, people[:4]), *crowd([2, 3], rng, people[4:]), *crowd([1, 2], rng, people[2:5])]
    seen: dict[tuple[float, int], EmbeddedFrame] = {(f.time_s, f.camid): f for f in frames}
    times = sorted({time_s for time_s, _ in seen})
    return [[f for (time_s, _), f in sorted(seen.items()) if time_s == now] for now in times]


def said(fused: Sequence[FusedFrame]) -> list[tuple[Any, ...]]:
    rows = [
        (f.camid, f.frame_idx, f.global_tracks.global_id.tolist(), np.nan_to_num(f.ground_xy, nan=-1e9).tolist())
        for f in fused
    ]
    return [*rows, *events_of(fused)]


def test_pictures_stay_with_who_asks_and_come_back_on_their_frames(apart) -> None:
    picture = np.full((4, 6, 3), 7, np.uint8)
    items = [replace(item, preview=picture, preview_scale=0.5) for item in ticks()[0]]
    fuser = apart()
    fused = fuser.step(items)
    assert all((frame.preview == picture).all() and frame.preview_scale == 0.5 for frame in fused)


def test_a_process_for_each_site_decides_as_one_for_all(apart, processes: list[SiteProcess], tmp_path: Path) -> None:
    near, far = fuser_of(NEIGHBOURS), apart()
    for items in ticks():
        assert said(far.step(items)) == said(near.step(items))
        assert far.sizes() == near.sizes()
    assert said(far.flush()) == said(near.flush())
    for fuser, name in ((near, "near"), (far, "far")):
        (tmp_path / name).mkdir()
        fuser.save(tmp_path / name, NAMES)
    written = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("near", "far")]
    assert written[0] == written[1] and written[0]
    assert (tmp_path / "near/association.json").read_bytes() == (tmp_path / "far/association.json").read_bytes()
    assert len({process._process.pid for process in processes}) == 2


def test_sites_go_on_from_their_saved_state_in_new_processes(apart) -> None:
    near, far = fuser_of(NEIGHBOURS), apart()
    some = ticks()
    for items in some[:20]:
        near.step(items)
        far.step(items)
    again = load_state(save_state(far), MODULES)
    for items in some[20:]:
        assert said(again.step(items)) == said(near.step(items))
    assert said(again.flush()) == said(near.flush())
    with pytest.raises(StateError, match=r"pipeline\.site_process\.SiteProcess"):
        load_state(save_state(far), STATE_MODULES)


def test_a_site_whose_process_was_killed_is_named_with_the_remedy(apart, processes: list[SiteProcess]) -> None:
    fuser = apart()
    some = ticks()
    fuser.step(some[0])
    os.kill(processes[1]._process.pid, signal.SIGKILL)
    with pytest.raises(SiteLostError, match=r"fusion\.sites\.south has ended \(exit code -9\).*--resume"):
        for items in some[1:]:
            fuser.step(items)


def test_an_error_in_a_sites_process_comes_through_with_its_place(apart) -> None:
    fuser = apart()
    with pytest.raises(ValueError, match="unpack") as caught:
        fuser._fusers[0]._send("begin", [None])
        fuser._fusers[0].frames()
    assert "In the process of site north" in caught.value.__notes__[0]


def test_processes_end_with_the_fuser(apart, processes: list[SiteProcess]) -> None:
    fuser = apart()
    fuser.step(ticks()[0])
    pids = [process._process.pid for process in processes]
    processes.clear()
    del fuser
    gc.collect()
    deadline_s = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_the_fuse_stage_uses_processes_where_the_configuration_says_so() -> None:
    config = FusionConfig.model_validate({"sites": NEIGHBOURS, "site_processes": True})
    stage = FuseFactory(config, (None,) * 4, frozenset(), DIM, NAMES)()
    twin = FuseFactory(config.model_copy(update={"site_processes": False}), (None,) * 4, frozenset(), DIM, NAMES)()
    some = ticks()
    for items in some[:20]:
        assert said(stage(items)) == said(twin(items))
    stage.restore(stage.state())
    for items in some[20:]:
        assert said(stage(items)) == said(twin(items))
    assert said(stage.flush()) == said(twin.flush())
    assert all(isinstance(site, SiteProcess) for site in stage._fuser._fusers)
