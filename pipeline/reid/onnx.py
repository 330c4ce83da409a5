"""Embedder on ONNX Runtime: image networks averaged over a clip, and video networks that take the clip whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.onnx_session import ORT_ERRORS, available_cores, open_session
from pipeline.reid.config import ReidConfig
from pipeline.reid.manifest import Manifest
from pipeline.reid.preprocess import CropBuffer
from pipeline.reid.vectors import clip_means, own_crops, unit
from pipeline.types import Clips, Embeddings, Float32, UInt8

KEY = "reid.model"
RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, ValueError)
INPUT_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxEmbedder:
    """Turns clips into vectors with an ONNX network.

    An image network (`clip_length` 1 in the manifest, input (N, 3, h, w)) sees each own crop of a clip once; the clip's
    vector is the unit mean of its crops' unit vectors, so the repeats that fill a short clip neither cost nor count. A
    video network (input (N, T, 3, h, w)) sees whole clips. Runs are spread over threads with one core each.
    """

    def __init__(self, path: Path, manifest: Manifest, config: ReidConfig) -> None:
        """Open the network and check it against its manifest by one run. Raises ValueError."""
        self._manifest = manifest
        self._is_video = manifest.clip_length > 1
        self._clip_length = manifest.clip_length if self._is_video else config.clip_crops
        threads = config.threads or max(1, available_cores() // 2)
        self._session = open_session(path, key=KEY, threads=1, device=config.device)
        if self._session.get_providers()[0] != "CPUExecutionProvider":
            threads = 1
        self._input_name, self._dtype, self._fixed_batch = self._check_input(path)
        crops_per_item = manifest.clip_length
        self._max_items = self._fixed_batch or max(1, config.batch_size // crops_per_item)
        self._parallel = threads
        self._local = threading.local()
        self._output_name = self._session.get_outputs()[0].name
        self._dim = self._check_output(path)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reid") if threads > 1 else None

    @property
    def clip_length(self) -> int:
        """T, the number of crops it takes per clip."""
        return self._clip_length

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of a crop in pixels."""
        return self._manifest.input_size

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return self._dim

    def embed(self, clips: Clips) -> Embeddings:
        """One unit vector per clip, in order. Raises ValueError where the crops have another size."""
        if not len(clips):
            return Embeddings.empty(self._dim)
        if clips.image.shape[2:4] != self.input_hw:
            raise ValueError(
                f"crops of {clips.image.shape[2:4]} pixels, the model takes {self.input_hw} (height, width)"
            )
        if self._is_video:
            if clips.image.shape[1] != self._clip_length:
                raise ValueError(f"clips of {clips.image.shape[1]} crops, the model takes {self._clip_length}")
            vectors = unit(self._run_all(list(clips.image)))
        else:
            own = own_crops(clips.num_crops, clips.image.shape[1])
            items = [clips.image[row, column][None] for row, column in np.argwhere(own)]
            vectors = clip_means(self._run_all(items), own.sum(axis=1))
        return Embeddings(clips.track_id, vectors, clips.quality)

    def _run_all(self, items: list[UInt8]) -> Float32:
        """Raw vectors (M, D) of the items (crops per item, h, w, 3), spread over runs and threads."""
        share = min(self._max_items, -(-len(items) // self._parallel))
        chunks = [items[start : start + share] for start in range(0, len(items), share)]
        if self._pool is None or len(chunks) == 1:
            return np.concatenate([self._run(chunk) for chunk in chunks])
        return np.concatenate(list(self._pool.map(self._run, chunks)))

    def _run(self, items: list[UInt8]) -> Float32:
        """One run of the network, in the calling thread."""
        crops_per_item = self._manifest.clip_length
        buffer: CropBuffer | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = CropBuffer(self._manifest, self._max_items * crops_per_item, self._dtype)
            self._local.buffer = buffer
        for place, item in enumerate(items):
            for offset, crop in enumerate(item):
                buffer.put(place * crops_per_item + offset, crop)
        count = self._fixed_batch or len(items)
        blob = buffer.blob[: count * crops_per_item]
        if self._is_video:
            blob = blob.reshape(count, crops_per_item, *blob.shape[1:])
        (output,) = self._session.run([self._output_name], {self._input_name: blob})
        return np.asarray(output, np.float32).reshape(count, -1)[: len(items)]

    def _check_input(self, path: Path) -> tuple[str, npt.DTypeLike, int]:
        """Name, dtype and batch size (0: open) of the input. Raises ValueError where the manifest says otherwise."""
        inputs = self._session.get_inputs()
        clip = (self._manifest.clip_length,) if self._is_video else ()
        want = (*clip, 3, *self._manifest.input_size)
        shape = inputs[0].shape
        fits = len(shape) == 1 + len(want) and all(
            not isinstance(have, int) or have == size for have, size in zip(shape[1:], want, strict=True)
        )
        if len(inputs) != 1 or not fits:
            found = ", ".join(f"{i.name} {i.shape}" for i in inputs)
            raise ValueError(
                f"{KEY}: {path} has the input {found}, its manifest says (batch, {', '.join(map(str, want))}); correct "
                "input_size (height, width) and clip_length in the manifest, or name another model"
            )
        if inputs[0].type not in INPUT_DTYPES:
            raise ValueError(f"{KEY}: {path} wants {inputs[0].type} as input, only float is known")
        return inputs[0].name, INPUT_DTYPES[inputs[0].type], shape[0] if isinstance(shape[0], int) else 0

    def _check_output(self, path: Path) -> int:
        """Length of a vector, by one run on noise."""
        shape_in = (self._manifest.clip_length, *self._manifest.input_size, 3)
        noise = np.random.default_rng(0).integers(0, 256, shape_in, dtype=np.uint8)
        try:
            vectors = self._run([noise] * (self._fixed_batch or 1))
        except RUN_ERRORS as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{KEY}: {path} does not run as its manifest says: {reason}") from error
        dim = int(vectors.shape[1])
        if not np.isfinite(vectors).all():
            raise ValueError(f"{KEY}: {path} gives values that are no numbers (NaN or infinite); the file is damaged")
        shape = self._session.get_outputs()[0].shape
        if any(isinstance(side, int) and side > 1 for side in shape[2:]):
            raise ValueError(f"{KEY}: {path} gives {shape}, want one vector per crop or clip: (batch, dim)")
        if self._manifest.dim not in (None, dim):
            raise ValueError(f"{KEY}: {path} gives vectors of length {dim}, its manifest says dim {self._manifest.dim}")
        return dim
