"""One file per published network, all plain `nn.Module`s that keep the interface of `model.ReidModel`."""

from reid_train.models.build import MODELS, build_model

__all__ = ["MODELS", "build_model"]
