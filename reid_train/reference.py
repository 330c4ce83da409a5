"""The list of every key of a recipe, made from the models, so that it is never out of date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipeline.yaml_file import model_in
from reid_train.config import Recipe


def recipe_reference() -> str:
    """Markdown tables of the keys of a recipe with default and meaning."""
    own, parts = [], []
    for name, field in Recipe.model_fields.items():
        part = model_in(field.annotation)
        if part is None:
            own.append((name, _default(field.get_default()), field.description or ""))
        else:
            parts += [f"### {name}", (part.__doc__ or "").strip().splitlines()[0], _table(_rows(part, f"{name}."))]
    return "\n\n".join(["## Recipe", _table(own), *parts]) + "\n"


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in rows]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *lines])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        default = _default(field.get_default(call_default_factory=True))
        yield prefix + name, default, (field.description or "").replace("|", "\\|")
        inner = model_in(field.annotation)
        if inner is not None:
            yield from _rows(inner, f"{prefix}{name}.")


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "*required*"
    if value is None or value in ("", ()) or value == {} or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(map(str, value)) + "]`"
    return f"`{value}`"
