"""YAML files whose errors say where they are: file, line and key, and for an unknown key the one that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.ingest.urls import mask_credentials

KeyPath = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that can not be used; the message names file, line and key, and says what to do."""


class Loader(yaml.SafeLoader):
    """YAML in which only true and false are truth values: `off`, `on`, `yes` and `no` are words, as `resolve: off` and
    a camera called `no` have it (YAML 1.2, 10.3.2)."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        letter: [(tag, pattern) for tag, pattern in resolvers if letter in "tTfF" or tag != "tag:yaml.org,2002:bool"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse_yaml(text: str) -> Any:
    """What a YAML text says; nothing but plain values can come of it. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=Loader)  # a SafeLoader: it builds no objects


class YamlFile:
    """A parsed YAML file that remembers on which line each key stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; check the path") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: can not be read as text: {error}") from None
        try:
            root = yaml.compose(text, Loader=Loader)
            self.data: Any = parse_yaml(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            problem = getattr(error, "problem", None) or str(error)
            raise ConfigError(f"{where}: not valid YAML: {problem}") from None
        self._lines = dict(_lines(root, (), path)) if root is not None else {}
        if self.data is None:
            raise ConfigError(f"{path}: the file is empty")
        if not isinstance(self.data, dict):
            raise ConfigError(f"{path}: want `key: value` lines at the top level, got a {type(self.data).__name__}")

    def where(self, key: KeyPath) -> str:
        """`file:line` of a key, or of the nearest key above it that stands in the file."""
        while key and key not in self._lines:
            key = key[:-1]
        return f"{self.path}:{self._lines[key]}" if key else str(self.path)


def validate(model: type[M], data: Any, file: YamlFile | None, overrides: Mapping[KeyPath, str] | None = None) -> M:
    """`data` as a `model`. Raises ConfigError with one line per fault.

    `overrides` names the keys that did not come from the file, with the text (`--set a.b=c`) that set them.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    messages = []
    for key, fault in _telling(data, faults):
        origin = next((text for path, text in (overrides or {}).items() if key[: len(path)] == path), None)
        where = origin or (file.where(key) if file else "configuration")
        messages.append(f"{where}: {dotted(key)}: {_message(model, key, fault)}")
    raise ConfigError("\n".join(dict.fromkeys(messages)))


def dotted(key: KeyPath) -> str:
    """`('cameras', 0, 'id')` as `cameras[0].id`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(top level)"


def near_miss(word: str, known: Sequence[str]) -> str:
    """`, did you mean x?` or the list of what is known."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else f"; known here: {', '.join(sorted(known))}"


def _lines(node: yaml.Node, key: KeyPath, path: Path) -> Iterator[tuple[KeyPath, int]]:
    """Every key below a node with its 1-based line. Raises ConfigError where a key stands twice."""
    yield key, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if name.value in seen:
                first = seen[name.value]
                raise ConfigError(f"{path}:{line}: {dotted((*key, name.value))}: given twice, first on line {first}")
            seen[name.value] = line
            yield from _lines(value, (*key, name.value), path)
            yield (*key, name.value), line
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*key, place), path)


def _telling(data: Any, faults: Sequence[Any]) -> list[tuple[KeyPath, Any]]:
    """The faults with their keys, without those that only follow from another one.

    A list whose entries are faulty also counts as too short; where a mapping or a string may stand, a faulty mapping
    also counts as no string.
    """
    found = [(_key_in(data, fault["loc"]), fault) for fault in faults]
    return [
        (key, fault)
        for key, fault in found
        if not (
            fault["type"] in ("too_short", "string_type")
            and any(other is not fault and below[: len(key)] == key for below, other in found)
        )
    ]


def _key_in(data: Any, loc: tuple[int | str, ...]) -> KeyPath:
    """pydantic's location without the names of union members, which stand in no file; a missing last key stays."""
    key: list[str | int] = []
    for place, part in enumerate(loc):
        inside = (isinstance(data, Mapping) and part in data) or (
            isinstance(data, Sequence) and not isinstance(data, str) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            key.append(part)
        elif place == len(loc) - 1 and isinstance(data, Mapping):
            key.append(part)
    return tuple(key)


def _message(model: type[BaseModel], key: KeyPath, fault: Any) -> str:
    kind = fault["type"]
    if kind == "extra_forbidden":
        owner = _model_at(model, key[:-1])
        known = sorted(field.alias or name for name, field in owner.model_fields.items()) if owner else []
        return f"unknown key{near_miss(str(key[-1]), known) if known else ''}"
    if kind == "missing":
        return "is missing and has no default"
    message: str = fault["msg"].removeprefix("Value error, ")
    value = fault.get("input")
    if kind != "value_error" and isinstance(value, str | int | float):
        message += f", got {mask_credentials(repr(value))}"
    return message[0].lower() + message[1:] if message[:2] != message[:2].upper() else message


def _model_at(model: type[BaseModel], key: KeyPath) -> type[BaseModel] | None:
    """The model that holds the keys below `key`."""
    owner: type[BaseModel] | None = model
    for part in key:
        if isinstance(part, int):
            continue
        field = owner.model_fields.get(part) if owner else None
        owner = model_in(field.annotation) if field else None
    return owner


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The configuration model inside a field's annotation, through unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict):
        return next((m for m in map(model_in, get_args(annotation)) if m), None)
    return None
