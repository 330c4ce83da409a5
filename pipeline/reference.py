"""The list of every configuration key, made from the models, so that it is never out of date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipeline.config import CameraConfig, CamsConfig, PipelineConfig
from pipeline.yaml_file import model_in


def settings_reference() -> str:
    """Markdown tables of the keys of cams.yaml and pipeline.yaml with default and meaning."""
    parts = ["## cams.yaml", _table(CamsConfig, ""), "### Each camera", _table(CameraConfig, ""), "## pipeline.yaml"]
    for name, field in PipelineConfig.model_fields.items():
        room = model_in(field.annotation)
        assert room is not None
        parts += [f"### {name}", (room.__doc__ or "").strip().splitlines()[0], _table(room, f"{name}.")]
    return "\n\n".join(parts) + "\n"


def _table(model: type[BaseModel], prefix: str) -> str:
    rows = [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in _rows(model, prefix)]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        name = field.alias or name
        yield (
            prefix + name,
            _default(field.get_default(call_default_factory=True)),
            (field.description or "").replace("|", "\\|"),
        )
        inner = model_in(field.annotation)
        if inner is not None and inner is not CameraConfig:
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
