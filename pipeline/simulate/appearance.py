"""Appearance vectors from a noise model: who it is, which camera, how they look on this visit, how crops differ.

    vector = unit(mean + identity[pid] + camera[camid] + view[pid, camid, visit] + crops)

Every part is a row of an endless table of normal numbers that depends on the seed alone, so vectors can be asked for in
any order, in bounded memory, and two runs agree to the byte. `AppearanceNoise` says how large each part is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from pipeline.simulate.faults import Alike
from pipeline.simulate.noise import AppearanceNoise
from pipeline.types import Float32, Float64, Int64

_BLOCK = 512
_BLOCKS_KEPT = 64
_MEAN, _CAMERA, _IDENTITY, _UNIFORM, _VIEW, _HOME_VIEW, _CROPS = range(7)


class NormalTable:
    """Rows of `dim` standard normal numbers and one more for the row's size; any row may be asked for at any time."""

    def __init__(self, seed: int, part: int, dim: int) -> None:
        self._key, self._dim = (seed, part), dim
        self._blocks: OrderedDict[int, Float32] = OrderedDict()

    def rows(self, index: Int64) -> tuple[Float32, Float32]:
        """(N, dim) and (N,) of rows `index` (N,), all >= 0."""
        found = np.empty((len(index), self._dim + 1), np.float32)
        block = index // _BLOCK
        for number in np.unique(block).tolist():
            here = block == number
            found[here] = self._block(number)[index[here] - number * _BLOCK]
        return found[:, :-1], found[:, -1]

    def _block(self, number: int) -> Float32:
        if number not in self._blocks:
            rng = np.random.default_rng([*self._key, number])
            self._blocks[number] = rng.standard_normal((_BLOCK, self._dim + 1), np.float32)
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


def spectrum(dim: int, decay: float) -> Float32:
    """(dim,) standard deviations j ** (-decay / 2), of which the squares sum to 1."""
    power = np.arange(1, dim + 1, dtype=np.float64) ** -decay
    return np.asarray(np.sqrt(power / power.sum()), np.float32)


class AppearanceModel:
    """Makes the appearance vectors of one site. Bounded memory."""

    def __init__(self, noise: AppearanceNoise, seed: int, alike: Sequence[Alike] = ()) -> None:
        self.noise, self._alike = noise, tuple(alike)
        tables = [NormalTable(seed, part, noise.dim) for part in range(_CROPS + 1)]
        self._mean_row, self._camera, self._identity, self._uniform, self._view, self._home_view, self._crops = tables
        self._mean = np.sqrt(noise.mean_var) * _unit(self._mean_row.rows(np.zeros(1, np.int64))[0])
        errors = noise.camera_var + noise.view_var + noise.crop_var
        rest = (noise.identity_var + errors) / (noise.identity_var + noise.factor**2 * errors)
        disturbed = noise.factor * np.sqrt(rest)
        self._camera_size = disturbed * np.sqrt(noise.camera_var)
        self._identity_std = spectrum(noise.dim, noise.identity_decay) * np.sqrt(rest * noise.identity_var)
        self._view_std = spectrum(noise.dim, noise.view_decay) * (disturbed * np.sqrt(noise.view_var))
        self._crop_std = spectrum(noise.dim, noise.crop_decay) * (disturbed * np.sqrt(noise.crop_var))

    def identities(self, pid: Int64) -> Float32:
        """(N, D) what makes these people (numbers >= 0) themselves, before any noise; not of unit norm."""
        noise = self.noise
        own, size = self._identity.rows(pid)
        own = own * _sizes(size, noise.identity_spread)[:, None]
        if noise.uniform_groups:
            pick = np.random.default_rng(7919).permutation(_BLOCK)[pid % _BLOCK] / _BLOCK
            wears = pick < noise.uniform_people
            uniform = self._uniform.rows(pid % noise.uniform_groups)[0]
            own = np.where(wears[:, None], _mixed(uniform, own, noise.uniform_likeness), own)
        vectors = own * self._identity_std
        for fault in self._alike:
            who = pid == fault.people[1]
            if who.any():
                other = self._identity.rows(np.array([fault.people[0]]))
                model = other[0] * _sizes(other[1], noise.identity_spread)[:, None] * self._identity_std
                vectors[who] = _mixed(model, vectors[who], fault.likeness)
        return np.asarray(vectors, np.float32)

    def vectors(
        self, pid: Int64, camid: Int64, home_view: Int64, view: Int64, clip: Int64, num_crops: Int64
    ) -> tuple[Float32, Float32]:
        """Vectors of K clips (K, D), of unit norm, and their quality (K,) in (0, 1].

        home_view numbers pairs of person and camera, view visits, clip the clips: all >= 0. Noisier clips have, by
        tendency, a lower quality.
        """
        noise = self.noise
        camera = self._camera_size * _unit(self._camera.rows(camid)[0])
        same, own = self._home_view.rows(home_view)[0], self._view.rows(view)[0]
        views = _mixed(same, own, noise.camera_share) * self._view_std
        crops, size = self._crops.rows(clip)
        sizes = _sizes(size, noise.crop_spread)
        crops = crops * self._crop_std * (sizes / np.sqrt(num_crops))[:, None]
        quality = np.clip(0.7 / sizes, 0.05, 1.0)
        return _unit(self._mean + self.identities(pid) + camera + views + crops), np.asarray(quality, np.float32)


def _mixed(shared: Float32, own: Float32, share: float) -> Float32:
    """Two independent normals mixed such that the variance stays and `share` of it is the first one's."""
    return np.asarray(np.sqrt(share) * shared + np.sqrt(1 - share) * own, np.float32)


def _sizes(normal: Float32, spread: float) -> Float32:
    """Lognormal factors whose squares have the mean 1."""
    return np.asarray(np.exp(spread * normal - spread * spread), np.float32)


def _unit(vectors: Float32 | Float64) -> Float32:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-12), np.float32)
