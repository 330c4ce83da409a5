"""What every configuration model shares. Each room keeps its own model, and its defaults, in its `config.py`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of all configuration models: frozen; an unknown key is an error, `yaml_file` names the near miss."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)
