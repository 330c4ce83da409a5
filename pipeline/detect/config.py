"""Configuration of the detector."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings import Settings

DetectorKind = Literal["auto", "onnx", "ultralytics", "from_file"]
LetterboxName = Literal["auto", "yolox", "ultralytics"]


class DetectConfig(Settings):
    """Which detector finds the people, and what it keeps."""

    model: str = Field(
        "bundled",
        description="what finds the people: bundled (the detector that comes with the project); path of an .onnx file; "
        "anything the ultralytics package loads (.pt, OpenVINO folder, .engine, model name); or a file of ready "
        "detections, {camera} standing for the camera's id",
    )
    kind: DetectorKind = Field("auto", description="which detector reads `model`; auto goes by its suffix")
    files: dict[str, str] = Field(
        default_factory=dict, description="file of ready detections per camera id, before `model` where both are given"
    )
    classes: tuple[int | str, ...] = Field(
        ("person",), min_length=1, description="classes that count as people, by name or by number"
    )
    min_score: float = Field(
        0.1, ge=0.0, lt=1.0, description="boxes below are dropped; low because the tracker has use for weak boxes"
    )
    nms_iou: float = Field(
        0.65,
        gt=0.0,
        le=1.0,
        description="of two boxes that overlap by more (IoU), the weaker is dropped; it still moves the stronger "
        "one towards itself, in proportion to their scores (.onnx detectors)",
    )
    input_size: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] | None = Field(
        None,
        description="height and width of the network's input for models that leave it open; the model's own otherwise",
    )
    letterbox: LetterboxName = Field(
        "auto",
        description="how pictures are fitted into the network's input: yolox (top left, BGR 0..255) or ultralytics "
        "(centred, RGB 0..1); auto goes by the model's output",
    )
    threads: int = Field(0, ge=0, description="processor cores an .onnx detector may use; 0: all")
    batch_size: int = Field(8, ge=1, le=256, description="most pictures per network run, for models of open batch size")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the network runs; auto: cuda where there is one"
    )
