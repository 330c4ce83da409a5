"""Checkpoints: weights, and what training needs to go on, as one safetensors file with its description inside.

The plain keys of a file are the network's state dict, so any safetensors reader gets the weights. Keys that begin
with `training/` belong to the loop. The description (which network, recipe, epoch, scores) is JSON in the file's
header, and once more, for people, in a `.json` beside it. No pickle anywhere: a file from a stranger runs no code.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reid_train.models import build_model

HEADER = "crosscam"
TRAINING = "training/"


class CheckpointError(ValueError):
    """A checkpoint that can not be read, or does not fit; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`model` is a state dict; `about` is JSON, with `network: {name, num_pids, options}`; `training` may be empty."""

    model: Mapping[str, Tensor]
    about: Mapping[str, Any]
    training: Mapping[str, Tensor] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `path` (.safetensors) in one step, and its .json: a reader sees the old file or the new one, never half.

    Raises OSError where the folder can not be written; an earlier file then stays.
    """
    tensors = {**checkpoint.model, **{TRAINING + name: value for name, value in checkpoint.training.items()}}
    text = json.dumps(dict(checkpoint.about), ensure_ascii=False, allow_nan=False)
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(_separate(tensors), partial, metadata={HEADER: text})
    except SafetensorError as error:
        raise OSError(f"{path}: can not be written, what was there stays: {error}") from error
    _publish(partial, path)
    readable = path.with_suffix(".json")
    partial = readable.with_name(readable.name + ".partial")
    partial.write_text(json.dumps(dict(checkpoint.about), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    _publish(partial, readable)


def load_checkpoint(path: Path, *, training: bool = True) -> Checkpoint:
    """Read a checkpoint onto the CPU; `training=False` leaves the loop's part on the disk. Raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER)
            keys = [key for key in file.keys() if training or not key.startswith(TRAINING)]  # noqa: SIM118
            tensors = {key: file.get_tensor(key) for key in keys}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the path") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from None
    if text is None:
        raise CheckpointError(
            f"{path}: no description of the network inside; official weights become a checkpoint with "
            "`python -m reid_train convert`"
        )
    return Checkpoint(
        model={key: value for key, value in tensors.items() if not key.startswith(TRAINING)},
        about=json.loads(text),
        training={key.removeprefix(TRAINING): value for key, value in tensors.items() if key.startswith(TRAINING)},
    )


def about_network(name: str, num_pids: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a checkpoint's description from which `load_model` builds the network."""
    return {"network": {"name": name, "num_pids": num_pids, "options": dict(options)}}


def load_model(path: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint or of a run's folder (its best, else its last), in eval mode, and its description.

    Raises CheckpointError.
    """
    path = find_checkpoint(path)
    checkpoint = load_checkpoint(path, training=False)
    about = dict(checkpoint.about)
    network = about.get("network")
    if not isinstance(network, dict) or not {"name", "num_pids"} <= network.keys():
        raise CheckpointError(f"{path}: the description names no network; was it written by `train` or `convert`?")
    model = build_model(network["name"], network["num_pids"], **network.get("options", {}))
    load_weights(model, checkpoint.model, path)
    return model.to(device).eval(), about


def find_checkpoint(path: Path) -> Path:
    """The file itself, or in a run's folder best.safetensors, else last.safetensors. Raises CheckpointError."""
    if not path.is_dir():
        return path
    for name in ("best.safetensors", "last.safetensors"):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(f"{path}: no best.safetensors or last.safetensors in this folder; train one first")


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict, all of whose keys and shapes must fit. Raises CheckpointError that names the others."""
    own = model.state_dict()
    faults = [f"missing {key}" for key in own if key not in weights]
    faults += [f"unexpected {key}" for key in weights if key not in own]
    faults += [
        f"{key} is {tuple(weights[key].shape)}, the network has {tuple(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if faults:
        shown = "; ".join(faults[:8]) + (f"; and {len(faults) - 8} more" if len(faults) > 8 else "")
        raise CheckpointError(f"{path}: the weights do not fit the network: {shown}")
    model.load_state_dict(dict(weights))


def load_fitting(model: nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Load the weights of a like network; those of other shape (a classifier of other people) stay as they are.

    Raises CheckpointError where the networks are not alike: other names, or another body than the classifier.
    """
    own = model.state_dict()
    fitting = {
        key: value
        if key not in own or value.shape == own[key].shape or not key.startswith("classifier.")
        else own[key].cpu()
        for key, value in checkpoint.model.items()
    }
    load_weights(model, fitting, path)


def pack_optimiser(optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """The optimiser's moments as `optimiser/<parameter>/<moment>`; `names` gives each parameter's name."""
    return {
        f"optimiser/{names[parameter]}/{moment}": value
        for parameter, moments in optimiser.state.items()
        for moment, value in moments.items()
        if isinstance(value, Tensor)
    }


def unpack_optimiser(
    optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str], packed: Mapping[str, Tensor]
) -> None:
    """Give the optimiser the moments that `pack_optimiser` made. Raises CheckpointError for other parameters."""
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in packed.items():
        if key.startswith("optimiser/"):
            _, name, moment = key.split("/")
            moments.setdefault(name, {})[moment] = value
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    unknown = sorted(moments.keys() - {names[parameter] for parameter in parameters})
    if unknown:
        raise CheckpointError(
            f"the optimiser's state holds parameters that are not trained now: {', '.join(unknown[:5])}"
        )
    state = {row: moments[names[p]] for row, p in enumerate(parameters) if names[p] in moments}
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def pack_rng(device: torch.device) -> Tensor:
    """State of torch's random generators, (L,) uint8: the CPU's, then the device's."""
    cpu = torch.get_rng_state()
    return torch.cat((cpu, torch.cuda.get_rng_state(device))) if device.type == "cuda" else cpu


def unpack_rng(packed: Tensor, device: torch.device) -> None:
    """Set the generators to a state of `pack_rng`; of a device that was not there then, the seed stays."""
    length = len(torch.get_rng_state())
    torch.set_rng_state(packed[:length].contiguous())
    if device.type == "cuda" and len(packed) > length:
        torch.cuda.set_rng_state(packed[length:].contiguous(), device)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CPU copies in plain layout, none of which shares memory with another, as the format wants them."""
    seen: set[int] = set()
    separate = {}
    for key, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        separate[key] = plain.clone() if plain.untyped_storage().data_ptr() in seen else plain
        seen.add(separate[key].untyped_storage().data_ptr())
    return separate


def _publish(partial: Path, final: Path) -> None:
    """Write through to the disk, then rename in one step."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, final)
    with contextlib.suppress(OSError):  # some file systems refuse to sync a folder
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
