"""The linear map of `light` in closed form: Fisher's discriminant of what a frozen backbone sees, shrunk.

Of all linear maps it is the one in which people lie farthest apart as measured by how far views of one person do
(Fisher, Annals of Eugenics 1936; regularised as in Friedman, JASA 1989). Nothing is learned step by step, so that no
number of people is trained too little. A direction counts by the share of its variance that lies between people, to a
power p: the weight (w / (1 + w)) ** p for w = variance between over variance within. With p = 0 all count alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.types import Int64
from pipeline.yaml_file import ConfigError
from reid_train.models.light import Light

CLASSIFIER_NORM = 2.0  # of a person's row of the classifier: softmax then is fairly sure of most
_ROWS = 4096
_LEAST_SPREAD = 1e-5
Float64Array = npt.NDArray[np.float64]


def fit_discriminant(
    model: nn.Module, features: npt.NDArray[np.float16], pids: Int64, shrinkage: float, power: float = 0.5
) -> None:
    """Set the head of a `light` without hidden layer from `features` (images, views, F) of people `pids` (images,).

    `shrinkage` times the identity is added to the variance within people (of features of variance 1): more is safer
    with few people and where the test looks otherwise. Features with another weight than 1 (`Light.weights`) get it
    over the weight's square. `power`: how much more the directions that tell people apart count. The classifier is left
    at every person's mean. Raises ConfigError for another network, or fewer than two people.
    """
    if not isinstance(model, Light) or not isinstance(model.perceptron, nn.Linear):
        raise ConfigError("training.discriminant: is for light with model.options.hidden: 0")
    people, person = np.unique(pids, return_inverse=True)
    if len(people) < 2:
        raise ConfigError(f"training.discriminant: wants two people or more, there is {len(people)}")
    mean, spread = _moments(features)
    centres, within = _scatter(features, person, len(people), mean, spread)
    count = features.shape[1] * np.bincount(person, minlength=len(people))
    between = centres.T @ centres / len(people) - within / count.mean()
    within[np.diag_indices_from(within)] += shrinkage / np.square(model.weights.numpy().astype(np.float64))
    directions, ratio = _directions(between, within, model.dim)
    projection = directions * (ratio / (1 + ratio)) ** power
    vectors = centres @ projection
    vectors *= CLASSIFIER_NORM / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    with torch.no_grad():
        _set(model.standardise.running_mean, mean)
        _set(model.standardise.running_var, np.square(spread) - model.standardise.eps)
        _set(model.perceptron.weight, projection.T)
        _set(model.neck.running_mean, np.zeros(model.dim))
        _set(model.neck.running_var, np.full(model.dim, 1 - model.neck.eps))
        _set(model.neck.weight, np.ones(model.dim))
        _set(model.classifier.weight, vectors)


def _moments(features: npt.NDArray[np.float16]) -> tuple[Float64Array, Float64Array]:
    """(F,) mean and (F,) standard deviation over images and views, at least a little."""
    total, squares = np.zeros(features.shape[2]), np.zeros(features.shape[2])
    for begin in range(0, len(features), _ROWS):
        part = features[begin : begin + _ROWS].astype(np.float32)
        total += part.sum(axis=(0, 1), dtype=np.float64)
        squares += np.square(part).sum(axis=(0, 1), dtype=np.float64)
    count = features.shape[0] * features.shape[1]
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), 0) + _LEAST_SPREAD)


def _scatter(
    features: npt.NDArray[np.float16], person: Int64, num_people: int, mean: Float64Array, spread: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """(people, F) means of standardised features, and (F, F) their covariance within people."""
    size = features.shape[2]
    sums, squares = np.zeros((num_people, size)), np.zeros((size, size))
    for begin in range(0, len(features), _ROWS):
        part = ((features[begin : begin + _ROWS].astype(np.float32) - mean) / spread).astype(np.float32)
        np.add.at(sums, person[begin : begin + _ROWS], part.sum(axis=1))
        rows = part.reshape(-1, size)
        squares += rows.T @ rows
    counts = features.shape[1] * np.bincount(person, minlength=num_people)
    centres = sums / counts[:, None]
    free = max(int(counts.sum()) - num_people, 1)
    return centres, (squares - centres.T @ (counts[:, None] * centres)) / free


def _directions(between: Float64Array, within: Float64Array, dim: int) -> tuple[Float64Array, Float64Array]:
    """(F, dim) directions of variance 1 within people, and (dim,) their variance between, ascending, positive."""
    from scipy.linalg import eigh

    size = len(within)
    if dim > size:
        raise ConfigError(f"model.options.dim: {dim}, but there are only {size} features to map")
    ratio, directions = eigh(between, within, subset_by_index=[size - dim, size - 1])
    return np.asarray(directions, np.float64), np.maximum(ratio, 1e-3)


def _set(target: torch.Tensor | None, values: Float64Array) -> None:
    assert target is not None  # batch norms that keep no statistics are not in this network
    target.copy_(torch.from_numpy(values).to(target.dtype))
