"""Which cameras make up a site."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import load_pipeline
from pipeline.fusion.partition import crossing_share, propose_sites
from pipeline.simulate.ready_sites import grid


def walks_between(num: int, ways: dict[tuple[int, int], float]) -> np.ndarray:
    count = np.zeros((num, num))
    for (a, b), number in ways.items():
        count[a, b] = number
    return count


def test_cameras_between_which_nobody_walks_are_different_sites() -> None:
    groups = propose_sites(walks_between(5, {(0, 2): 30, (2, 0): 20, (1, 4): 9}))
    assert [group.cameras for group in groups] == [(0, 2), (1, 4), (3,)]
    assert all(not group.guests for group in groups)


def test_a_wrong_link_among_many_walks_joins_no_sites() -> None:
    groups = propose_sites(walks_between(4, {(0, 1): 200, (1, 0): 200, (2, 3): 200, (3, 2): 200, (1, 2): 2}))
    assert [group.cameras for group in groups] == [(0, 1), (2, 3)]


def test_a_town_that_is_too_large_is_cut_where_few_walk_and_border_cameras_become_guests() -> None:
    ways = {(0, 1): 50, (1, 2): 50, (2, 3): 4, (3, 4): 50, (4, 5): 50}
    groups = propose_sites(walks_between(6, ways), max_cameras=3)
    assert [(g.cameras, g.guests) for g in groups] == [((0, 1, 2), (3,)), ((3, 4, 5), (2,))]
    assert crossing_share(walks_between(6, ways), groups) == pytest.approx(4 / 204)


def test_cameras_that_look_at_one_place_stay_together_even_if_they_are_too_many() -> None:
    groups = propose_sites(walks_between(4, {(2, 3): 90}), together=[(0, 1), (1, 2)], max_cameras=2)
    assert [group.cameras for group in groups] == [(0, 1, 2), (3,)]
    assert groups[1].guests == (2,)


def test_every_camera_is_in_one_site_and_none_is_too_large_in_a_grid_of_streets() -> None:
    site = grid(6, 6)
    names = site.camera_names
    count = np.zeros((36, 36))
    for link in site.links:
        count[names.index(link.leave.split(".")[0]), names.index(link.enter.split(".")[0])] += 10
    groups = propose_sites(count, max_cameras=9)
    assert sorted(camid for group in groups for camid in group.cameras) == list(range(36))
    assert max(len(group.cameras) for group in groups) <= 9
    assert len(groups) <= 7
    assert crossing_share(count, groups) < 0.35
    for group in groups:  # whoever comes over the border was seen by a guest before
        for a in group.cameras:
            beyond = set(np.flatnonzero(count[:, a] > 0).tolist()) - set(group.cameras)
            assert beyond <= set(group.guests)


def test_the_command_prints_what_pipeline_yaml_takes(tmp_path: Path) -> None:
    rows = [f"{i},a,b,0.000,5.000,5.000" for i in range(20)] + [f"{i},c,d,0.000,5.000,5.000" for i in range(20)]
    rows += [f"{i},b,c,0.000,9.000,9.000" for i in range(3)]
    file = tmp_path / "transitions.csv"
    file.write_text("global_id,from,to,left_s,arrived_s,travel_s\n" + "\n".join(rows) + "\n")
    result = CliRunner().invoke(app, ["sites", str(file), "--max-cameras", "2"])
    assert result.exit_code == 0, result.output
    (tmp_path / "pipeline.yaml").write_text(result.stdout[result.stdout.index("fusion:") :])
    found = load_pipeline(tmp_path / "pipeline.yaml", []).fusion.sites
    assert {name: (site.cameras, site.guests) for name, site in found.items()} == {
        "site1": (("a", "b"), ("c",)),
        "site2": (("c", "d"), ("b",)),
    }


def test_the_command_reads_what_a_run_has_learned(tmp_path: Path) -> None:
    pair = {"from": "a", "to": "b", "bins": [2, 3], "counts": [4.0, 3.0]}
    document = {
        "version": 1,
        "cameras": ["a", "b"],
        "bin_width": 0.5,
        "num_bins": 8,
        "sigma_bins": 0.0,
        "pairs": [pair],
    }
    (tmp_path / "transitions.json").write_text(json.dumps(document))
    result = CliRunner().invoke(app, ["sites", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert '"a", "b"' in result.stdout
    (tmp_path / "transitions.json").write_text("{}")
    assert CliRunner().invoke(app, ["sites", str(tmp_path)]).exit_code == 2
