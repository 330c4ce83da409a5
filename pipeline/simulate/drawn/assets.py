"""The basis of body shapes that is bundled with the project. See docs/simulation-people.md for where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from pipeline.types import Float32, Float64, Int64, UInt8

NUM_BONES = 21
MESHES = ("skin", "tights", "skirt", "hair", "eyes")
ASSET = "people.npz"


@dataclass(frozen=True, eq=False)
class BodyBasis:
    """A mean body and its principal components, on one mesh with one skeleton.

    Lengths are metres, z points up from the soles, the body looks along -y and its left is +x. The `rest` body is
    the one on which clothes are cut; `along_arm` is 0 at a shoulder, 0.5 at the elbow, 1 at the wrist, negative off
    the arms.
    """

    mean: Float32  # ((V + 21) * 3,) vertices, then joints
    basis: Float32  # (K, (V + 21) * 3) for coefficients of unit variance
    coefficients: Float32  # (N, K) of sampled adults
    female: Float32  # (N,) 0 male .. 1 female
    age: Float32  # (N,) 0.57 young .. 0.95 old
    rest: Float32  # (V, 3)
    along_arm: Float32  # (V,)
    rest_height_m: float
    parents: Int64  # (21,) -1 for the root
    bones: UInt8  # (V, 4)
    weights: Float32  # (V, 4) rows sum to 1
    faces: dict[str, Int64]  # mesh -> (F, 3) vertices

    @property
    def num_vertices(self) -> int:
        return len(self.rest)

    @property
    def eye_at(self) -> Float64:
        """(3,) the resting left eye: metres, metres, share of the height."""
        eye = self.rest[np.unique(self.faces["eyes"])]
        centre = eye[eye[:, 0] > 0].mean(axis=0).astype(np.float64)
        return np.asarray(centre / (1.0, 1.0, self.rest_height_m))


@cache
def load_basis() -> BodyBasis:
    """Read the bundled asset once per process."""
    with files("pipeline.simulate.drawn").joinpath(ASSET).open("rb") as file, np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    weights = arrays["weights"].astype(np.float32)
    faces = {name: arrays[f"faces_{name}"].astype(np.int64) for name in MESHES}
    rest = arrays["rest"].astype(np.float32)
    return BodyBasis(
        mean=arrays["mean"],
        basis=arrays["basis"].astype(np.float32),
        coefficients=arrays["coefficients"].astype(np.float32),
        female=arrays["female"].astype(np.float32),
        age=arrays["age"].astype(np.float32),
        rest=rest,
        along_arm=arrays["along_arm"].astype(np.float32),
        rest_height_m=float(rest[np.unique(faces["skin"]), 2].max()),
        parents=arrays["parents"].astype(np.int64),
        bones=arrays["bones"],
        weights=weights / weights.sum(axis=1, keepdims=True),
        faces=faces,
    )
