"""A recipe: what is trained on which data and how, one YAML file; `--set key.key=value` overrules single settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from pipeline.settings import Settings
from pipeline.yaml_file import ConfigError, KeyPath, YamlFile, validate
from reid_train.data.config import DistortionConfig, Interpolation, SamplerConfig, TestRule, TrainRule, TransformConfig
from reid_train.schedules import ScheduleConfig
from reid_train.spatial_temporal import SpatialTemporalConfig

PACKAGE = "package"  # as model.pretrained: the weights that a registry package carries
_PATH_KEYS = (("data", "root"), ("model", "pretrained"), ("training", "begin_with"))


class ModelConfig(Settings):
    """The network."""

    name: str = Field(
        min_length=1, description="staformer, psta, ste_nvan, nvan, ste_nvan_baseline, sticc, st_reid, light"
    )
    options: dict[str, Any] = Field(
        {}, description="keyword arguments of the network, e.g. num_slots of sticc; input_hw comes from transform"
    )
    pretrained: str | None = Field(
        None,
        description="local file with ImageNet weights of the backbone (.safetensors or .pth); nothing is downloaded",
    )


class DataConfig(Settings):
    """The data set, and how clips and batches are drawn from its training tracklets."""

    name: str = Field(min_length=1, description="data set: mars, ilids_vid, ..., or tracklet_folder for your own")
    root: str | None = Field(None, description="folder that holds it; also --root")
    options: dict[str, Any] = Field({}, description="options of the data set's loader, for example split or dense_step")
    clip_length: int = Field(8, ge=1, le=128, description="frames of a training clip, T")
    rule: TrainRule = Field("rrs_floor", description="which frames of a tracklet make its clip")
    sampler: SamplerConfig = Field(SamplerConfig(), description="how the tracklets of a batch are drawn")
    workers: int = Field(4, ge=0, le=128, description="processes that read images; 0: the training process itself")
    cache_mb: int = Field(0, ge=0, description="MB of decoded images that every worker process keeps")
    views: int = Field(
        0, ge=0, le=64, description="for a frozen backbone of light: its features of so many changed views of every "
        "image are computed once, in memory, and the head learns from them; 0: every clip goes through the backbone"
    )  # fmt: skip
    views_distortion: DistortionConfig | None = Field(
        None, description="distortion of every second view in place of transform.distortion; null: the same for all"
    )


class OptimiserConfig(Settings):
    """The optimiser. Learning rates are those after the warm-up."""

    name: Literal["adam", "adamw", "sgd"] = Field("adam", description="Adam and SGD add the decay to the gradient")
    lr: float = Field(3.5e-4, gt=0, description="learning rate")
    weight_decay: float = Field(5e-4, ge=0, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd: momentum")
    nesterov: bool = Field(False, description="sgd: Nesterov's momentum")
    lr_factors: dict[str, float] = Field({}, description="factor on lr by parameter group, for example backbone: 0.1")
    bias_lr_factor: float = Field(1.0, gt=0, description="further factor on the rate of biases")
    decay_vectors: bool = Field(True, description="decay also biases and norms (all one-dimensional parameters)")


class TrainingConfig(Settings):
    """The loop."""

    epochs: int = Field(120, ge=0, description="passes over the sampler; 0: what training begins with is the result")
    begin_with: str | None = Field(
        None, description="checkpoint or folder of another run of the same network, whose weights this one begins with "
        "as far as they fit (the classifier only where the people are as many); null: weights as the network makes them"
    )  # fmt: skip
    discriminant: float | None = Field(
        None, gt=0, description="with data.views and light without hidden layer: begin with Fisher's discriminant in "
        "closed form, shrunk by this much (0.1); null: begin at random"
    )  # fmt: skip
    discriminant_power: float = Field(
        0.5, ge=0, le=2, description="how much more the discriminant's directions that tell people apart count: their "
        "share of variance between people to this power; 0: all alike"
    )  # fmt: skip
    seed: int = Field(1, ge=0, description="fixes weights, batches, clips and augmentation")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: automatic mixed precision; losses stay fp32")
    channels_last: bool = Field(False, description="memory layout that convolutions prefer on most devices")
    compile: bool = Field(False, description="torch.compile the network; the first steps take minutes")
    deterministic: bool = Field(False, description="only deterministic kernels; on the CPU results repeat without it")
    accumulate: int = Field(1, ge=1, description="batches whose gradients make one step of the optimiser")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient; null: unlimited")
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="score and keep as best a moving average of the weights; null: the weights"
    )
    skip_single_id: bool = Field(False, description="skip a batch that shows one person only (STAFormer does)")
    evaluate_epochs: int = Field(
        10, ge=0, description="score the test set every so many epochs and at the end; 0: never"
    )
    evaluate_clips: TestRule | None = Field(
        None, description="test.clips of those scores where it is to be cheaper; null: test.clips itself"
    )
    best_by: Literal["rank1", "mAP"] = Field("rank1", description="score by which best.safetensors is chosen")
    checkpoint_steps: int = Field(0, ge=0, description="write last.safetensors also every so many steps; 0: each epoch")
    tensorboard: bool = Field(True, description="write TensorBoard files beside log.csv")


class RerankConfig(Settings):
    """k-reciprocal re-ranking (Zhong et al., CVPR 2017), printed as a second block of scores."""

    k1: int = Field(20, ge=1, description="neighbours that count as reciprocal")
    k2: int = Field(6, ge=1, description="neighbours of the local query expansion")
    lambda_value: float = Field(0.3, ge=0, le=1, description="weight of the original distance")
    square: bool = Field(True, description="square 2 - 2 cos first (the video systems); st-ReID takes 2 - 2 S plain")


class TestConfig(Settings):
    """How the system is scored."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    clips: TestRule = Field("evenly", description="which frames of a tracklet make its clips; their mean is compared")
    clip_length: int | None = Field(None, ge=1, description="frames of a test clip; null: those of a training clip")
    interpolation: Interpolation = Field("bilinear", description="how images of another size are resized")
    batch_clips: int = Field(32, ge=1, description="clips that are embedded at once")
    ap: Literal["rectangular", "trapezoidal"] = Field(
        "rectangular", description="the system's own average precision; both are printed"
    )
    rerank: RerankConfig | None = Field(None, description="re-ranking as a second block; null: none")
    joint: SpatialTemporalConfig | None = Field(
        None, description="joint metric with travel times; null: appearance alone"
    )


class Recipe(Settings):
    """One YAML file."""

    model: ModelConfig
    data: DataConfig
    transform: TransformConfig = Field(TransformConfig(), description="size and augmentation of the training clips")
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    training: TrainingConfig = TrainingConfig()
    test: TestConfig = TestConfig()
    about: str = Field(
        "", max_length=300, description="what it is trained on, in words, for the exported network's manifest"
    )

    @property
    def test_transform(self) -> TransformConfig:
        """The transform of test clips: nothing random."""
        return self.transform.model_copy(
            update={
                "interpolation": self.test.interpolation,
                "flip_probability": 0.0,
                "pad_px": 0,
                "distortion": None,
                "erasing": None,
            }
        )

    @property
    def test_clip_length(self) -> int:
        """Frames of a test clip."""
        return self.test.clip_length or self.data.clip_length


def load_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """A recipe with `key.key=value` settings on top; relative paths become absolute. Raises ConfigError."""
    file = YamlFile(path)
    return recipe_from(file.data, settings, file)


def recipe_from(data: dict[str, Any], settings: Sequence[str] = (), file: YamlFile | None = None) -> Recipe:
    """The same from parsed data, such as the recipe in a checkpoint. Raises ConfigError."""
    overrides: dict[KeyPath, str] = {}
    for setting in settings:
        key, value = parse_setting(setting)
        data = _with(data, key, value)
        overrides[key] = f"--set {setting}"
    for key in _PATH_KEYS:
        part = data.get(key[0])
        value = part.get(key[1]) if isinstance(part, dict) else None
        if isinstance(value, str) and value != PACKAGE:
            data = _with(data, key, str(Path(value).expanduser().resolve()))
    return validate(Recipe, data, file, overrides)


def parse_setting(setting: str) -> tuple[KeyPath, Any]:
    """`training.epochs=3` as (("training", "epochs"), 3). Raises ConfigError."""
    name, equals, text = setting.partition("=")
    key = tuple(name.strip().split("."))
    if not equals or not all(key):
        raise ConfigError(f"--set {setting}: want key.key=value, for example training.epochs=3")
    try:
        return key, yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: the value is not valid YAML: {error}") from None


def recipe_yaml(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as YAML that `load_recipe` reads back to an equal one."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def changed_keys(before: Recipe, after: Recipe) -> list[str]:
    """The dotted keys whose values differ, in the order of the recipe."""
    one, other = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def _flat(data: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(data, dict) or not data:
        return {key: data}
    return {name: value for part in data for name, value in _flat(data[part], f"{key}.{part}" if key else part).items()}


def _with(data: dict[str, Any], key: KeyPath, value: Any) -> dict[str, Any]:
    """A copy of nested `data` with one value set."""
    head, rest = str(key[0]), key[1:]
    below = data.get(head)
    return {**data, head: _with(below if isinstance(below, dict) else {}, rest, value) if rest else value}
