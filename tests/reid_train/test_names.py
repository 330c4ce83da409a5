"""The names that docs/reid_train.md promises to outsiders, used as it shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).parents[2] / "docs" / "reid_train.md"


def test_the_promised_names_work_as_documented() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert tuple(names["vectors"].shape) == (2, names["model"].dim)
    assert 0 < names["score"].mAP <= 1 and 0 <= names["score"].rank(1) <= 1
    assert names["reranked"].shape == names["distances"].shape
    assert names["joint"].shape == names["distances"].shape and np.isfinite(names["joint"]).all()
    assert callable(names["convert_official"])
