"""The tracker's arithmetic as compiled loops: the same functions as in kalman.py and costs.py, for numba.

With a handful of people a frame, numpy spends its time on calls and not on numbers. Results agree with the numpy
functions to rounding; the tests hold both to it. Only kernels.py imports this file.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from pipeline.track.costs import FORBIDDEN, NEAR_HEIGHTS

_compile = numba.njit(cache=True, error_model="numpy")


@_compile
def predict(mean, cov, dt_s, drift_position, drift_size):  # type: ignore[no-untyped-def]
    """kalman.predict: mean (N, 2, 4), cov (N, 3, 4), dt_s (N,)."""
    moved, grown = mean.copy(), cov.copy()
    for i in range(len(mean)):
        dt, height = dt_s[i], max(mean[i, 0, 3], 1.0)
        for k in range(4):
            drift = (height * (drift_position if k < 2 else drift_size)) ** 2
            moved[i, 0, k] += dt * mean[i, 1, k]
            grown[i, 0, k] += dt * (2 * cov[i, 1, k] + dt * cov[i, 2, k]) + drift * (dt * dt * dt / 3)
            grown[i, 1, k] += dt * cov[i, 2, k] + drift * (dt * dt / 2)
            grown[i, 2, k] += drift * dt
    return moved, grown


@_compile
def correct(mean, cov, xyxy, measured_position, measured_size):  # type: ignore[no-untyped-def]
    """kalman.correct: mean (N, 2, 4), cov (N, 3, 4), xyxy (N, 4)."""
    corrected, shrunk = mean.copy(), cov.copy()
    for i in range(len(mean)):
        height = max(mean[i, 0, 3], 1.0)
        for k in range(4):
            if k < 2:
                measured, error = (xyxy[i, k] + xyxy[i, k + 2]) / 2, (height * measured_position) ** 2
            else:
                measured, error = xyxy[i, k] - xyxy[i, k - 2], (height * measured_size) ** 2
            gain = cov[i, 0, k] / (cov[i, 0, k] + error)
            gain_velocity = cov[i, 1, k] / (cov[i, 0, k] + error)
            miss = measured - mean[i, 0, k]
            corrected[i, 0, k] += gain * miss
            corrected[i, 1, k] += gain_velocity * miss
            shrunk[i, 0, k] *= 1 - gain
            shrunk[i, 1, k] *= 1 - gain
            shrunk[i, 2, k] -= gain_velocity * cov[i, 1, k]
    return corrected, shrunk


@_compile
def pair_cost(mean, cov, last_xy, xyxy, buffer, direction, slowness):  # type: ignore[no-untyped-def]
    """costs.pair_cost: (T, N)."""
    num_tracks, num_found = len(mean), len(xyxy)
    cost = np.full((num_tracks, num_found), FORBIDDEN)
    grown = np.empty((num_found, 4))
    for j in range(num_found):
        margin_x, margin_y = (xyxy[j, 2] - xyxy[j, 0]) * buffer, (xyxy[j, 3] - xyxy[j, 1]) * buffer
        grown[j, 0], grown[j, 1] = xyxy[j, 0] - margin_x, xyxy[j, 1] - margin_y
        grown[j, 2], grown[j, 3] = xyxy[j, 2] + margin_x, xyxy[j, 3] + margin_y
    for i in range(num_tracks):
        half_width = max(mean[i, 0, 2], 1.0) * (0.5 + buffer)
        half_height = max(mean[i, 0, 3], 1.0) * (0.5 + buffer)
        left, right = mean[i, 0, 0] - half_width, mean[i, 0, 0] + half_width
        top, bottom = mean[i, 0, 1] - half_height, mean[i, 0, 1] + half_height
        speed_x, speed_y = mean[i, 1, 0], mean[i, 1, 1]
        sure = math.hypot(speed_x, speed_y) + slowness * math.sqrt(cov[i, 2, 0])
        near = NEAR_HEIGHTS * max(mean[i, 0, 3], 1.0)
        for j in range(num_found):
            width = min(right, grown[j, 2]) - max(left, grown[j, 0])
            height = min(bottom, grown[j, 3]) - max(top, grown[j, 1])
            if not (width > 0 and height > 0):
                continue
            both, tall = width * height, grown[j, 3] - grown[j, 1]
            union = 4 * half_width * half_height + (grown[j, 2] - grown[j, 0]) * tall - both
            fit = 1 - both / union * (height / (2 * half_height + tall - height))
            if direction:
                way_x = (xyxy[j, 0] + xyxy[j, 2]) / 2 - last_xy[i, 0]
                way_y = (xyxy[j, 1] + xyxy[j, 3]) / 2 - last_xy[i, 1]
                far = math.hypot(way_x, way_y) + near
                fit -= direction * (way_x * speed_x + way_y * speed_y) / (sure * far)
            cost[i, j] = fit
    return cost


@_compile
def _root(parent, node):  # type: ignore[no-untyped-def]
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@_compile
def easy_match(cost, weight, rows, cols, max_cost):  # type: ignore[no-untyped-def]
    """The easy cases of assignment.assign on costs.weigh(cost, weight)[rows][:, cols].

    Rows and columns that may be paired, directly or through others, form a group; groups do not touch each other. A
    group is settled, exactly, where no two of its rows want the same cheapest column, or no two of its columns the
    same cheapest row.

    -> (col_of_row (R,) places in `cols` or -1; open_row (R,), open_col (C,): what is not settled; weighed cost (R, C))
    """
    num_rows, num_cols = len(rows), len(cols)
    part = np.empty((num_rows, num_cols))
    best_col, best_row = np.full(num_rows, -1), np.full(num_cols, -1)
    group = np.arange(num_rows + num_cols)  # a forest: each node's parent, columns after the rows
    for r in range(num_rows):
        for c in range(num_cols):
            value = 1 - (1 - cost[rows[r], cols[c]]) * weight[cols[c]]
            part[r, c] = value
            if value <= max_cost:
                group[_root(group, r)] = _root(group, num_rows + c)
                if best_col[r] < 0 or value < part[r, best_col[r]]:
                    best_col[r] = c
                if best_row[c] < 0 or value < part[best_row[c], c]:
                    best_row[c] = r
    rows_quarrel, cols_quarrel = np.zeros(len(group), np.bool_), np.zeros(len(group), np.bool_)
    wanted_col, wanted_row = np.zeros(num_cols, np.bool_), np.zeros(num_rows, np.bool_)
    for r in range(num_rows):
        if best_col[r] >= 0:
            rows_quarrel[_root(group, r)] |= wanted_col[best_col[r]]
            wanted_col[best_col[r]] = True
    for c in range(num_cols):
        if best_row[c] >= 0:
            cols_quarrel[_root(group, num_rows + c)] |= wanted_row[best_row[c]]
            wanted_row[best_row[c]] = True
    col_of_row = np.full(num_rows, -1)
    open_row, open_col = np.zeros(num_rows, np.bool_), np.zeros(num_cols, np.bool_)
    for r in range(num_rows):
        root = _root(group, r)
        if not rows_quarrel[root]:
            col_of_row[r] = best_col[r]
        open_row[r] = rows_quarrel[root] and cols_quarrel[root]
    for c in range(num_cols):
        root = _root(group, num_rows + c)
        if best_row[c] >= 0 and rows_quarrel[root] and not cols_quarrel[root]:
            col_of_row[best_row[c]] = c
        open_col[c] = rows_quarrel[root] and cols_quarrel[root]
    return col_of_row, open_row, open_col, part
