"""Names and numbers of the classes a detector knows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.types import Int64

# The 80 classes of COCO detection in their usual order (Lin et al., "Microsoft COCO", 2014).
# fmt: off
COCO_NAMES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis",
    "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
    "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
)
# fmt: on


def names_for(num_classes: int) -> dict[int, str]:
    """Names for a model that states none: COCO's for 80 classes (or an unknown number, 0), `person` for one."""
    if num_classes in (0, len(COCO_NAMES)):
        return dict(enumerate(COCO_NAMES))
    return {0: "person"} if num_classes == 1 else {}


def class_numbers(classes: Sequence[int | str], names: Mapping[int, str], model: str) -> Int64:
    """Numbers of the wanted `classes`, ascending. Raises ValueError naming `detect.classes` and the near miss."""
    number_of: dict[str, int] = {}
    for number in sorted(names):
        number_of.setdefault(names[number].lower(), number)
    wanted = set()
    for entry in classes:
        if isinstance(entry, int):
            if entry < 0:
                raise ValueError(f"detect.classes: {entry} is no class number")
            wanted.add(entry)
        elif entry.lower() in number_of:
            wanted.add(number_of[entry.lower()])
        elif not number_of:
            raise ValueError(
                f"detect.classes: {model} does not name its classes, so {entry!r} can not be found; give numbers"
            )
        else:
            near = difflib.get_close_matches(entry.lower(), number_of, n=1)
            known = ", ".join(list(number_of)[:10]) + (", ..." if len(number_of) > 10 else "")
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {known}"
            raise ValueError(f"detect.classes: {model} has no class {entry!r}; {hint}")
    return np.array(sorted(wanted), np.int64)
