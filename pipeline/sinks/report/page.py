"""report.html, put together: figures, tables, words and style in one file that needs no network."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from pipeline.sinks.files import AtomicFile
from pipeline.sinks.report import figures, learned, svg
from pipeline.sinks.report.record import Person, Record, load_record

REPORT_FILE = "report.html"
_MAX_CAMERA_ROWS = 500
_MAX_PLAIN_ROWS = 20  # with more cameras, those with trouble come first
_NUM_NOTED = 12
_CAMERA_HEADS = (
    *("camera", "state", "frames", "dropped", "broken", "reconnects", "frames/s", "picture", "tracklets", "people"),
    "note",
)
_WORDS = frozenset(("camera", "pair", "state", "note", "event", "identities", "floor"))  # columns of words, not numbers
_TROUBLE = frozenset(("failed", "reconnecting"))

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--dim:#667079;--paper:#fff;--card:#f6f7f9;--line:#dfe3e8;
--faint:#eef0f3}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#98a2ab;--paper:#15181b;--card:#1d2125;--line:#31373d;
--faint:#23282d}
}*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1130px;margin:0 auto;padding:28px 24px 60px}h1{font-size:26px;margin:0}
h2{font-size:18px;margin:38px 0 8px}p{margin:4px 0 12px;color:var(--dim);max-width:80ch}a{color:inherit}
code{font:13px ui-monospace,monospace}.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0}
.tile{background:var(--card);border-radius:10px;padding:10px 18px;min-width:120px}
.tile b{display:block;font-size:24px;font-weight:650}.tile span{color:var(--dim);font-size:13px}
svg{max-width:100%;height:auto;display:block}.scroll{overflow:auto;max-height:620px}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--dim);font-weight:500;position:sticky;top:0;background:var(--paper)}
th.words,td.words{text-align:left}td.note{white-space:normal;text-align:left;color:var(--dim)}
.bad{color:#d6402b;font-weight:600}.label{font:11px system-ui,sans-serif;fill:var(--dim)}
.small{font:8px system-ui,sans-serif;fill:var(--dim)}.head{font:600 12px system-ui,sans-serif;fill:var(--ink)}
.oncolour{font:600 11px system-ui,sans-serif;fill:#fff}.grid{stroke:var(--line);stroke-width:1}
.thread{stroke:var(--dim);stroke-width:1;stroke-dasharray:2 3}
"""


def write_report(folder: Path) -> Path:
    """Write report.html beside the tables of a run, from them alone. Raises OutputError."""
    record = load_record(folder)
    path = folder / REPORT_FILE
    with AtomicFile(path) as file:
        file.write(page(record))
    return path


def page(record: Record) -> str:
    """The whole document."""
    sections = [
        _head(record),
        _section("Cameras", _cameras(record), _camera_note(record)),
        _people(record),
        _section("Where each identity was", *_timelines(record)),
        _section("Walks between cameras", figures.matrix(record), _matrix_note(record)),
        _section(
            "Travel times",
            figures.travel_curves(record),
            f"The {figures.MAX_CURVES} busiest pairs, those with three walks or more and those that the association "
            "has learned. Negative times: both cameras saw the person for so long.",
        ),
        _section("How looks tell people apart", learned.looks_picture(record.known), learned.looks_note(record.known)),
        _section("Floors between overlapping cameras", _floors(record), learned.FLOOR_NOTE),
        _section("Identities to look at", _noted(record), _why_hint(record)),
        _section("What happened", _events(record)),
        _section("Where the time went", figures.stage_times(record)),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(record.folder.name)} - CrossCam</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _head(record: Record) -> str:
    run, (first, last) = record.run, record.span_s
    frames = sum(int(camera.get("frames") or 0) for camera in run.get("cameras", ()))
    walks = sum(len(times) for (a, b), times in record.walks.items() if a != b)
    tiles = [
        (f"{len(record.cameras)}", "cameras"),
        (f"{len(record.people)}", "identities"),
        (f"{sum(record.num_tracklets.values())}", "tracklets"),
        (f"{walks}", "walks between cameras"),
        (svg.clock_text(last - first), "of footage with people"),
    ]
    if frames and run.get("wall_s"):
        tiles.append((f"{frames / run['wall_s']:.0f}", "camera-frames a second"))
    said = []
    if run.get("started_at"):
        said.append(f"run of {run['started_at'][:16].replace('T', ' ')} UTC")
    if run.get("clock_zero_s"):
        zero = datetime.fromtimestamp(run["clock_zero_s"], UTC)
        said.append(f"time 0:00 is {zero:%Y-%m-%d %H:%M:%S} UTC")
    if run.get("interrupted"):
        said.append('<span class="bad">interrupted before its end</span>')
    if run.get("crosscam"):
        said.append(f"CrossCam {escape(str(run['crosscam']))}")
    boxes = "".join(f'<div class="tile"><b>{number}</b><span>{words}</span></div>' for number, words in tiles)
    name = escape(record.folder.resolve().name)
    return f'<h1>{name}</h1><p>{" · ".join(said)}</p><div class="tiles">{boxes}</div>'


def _cameras(record: Record) -> str:
    told = {camera["id"]: camera for camera in record.run.get("cameras", ())}
    people: dict[str, set[int]] = {}
    for person in record.people:
        for piece in person.pieces:
            people.setdefault(piece.camera, set()).add(person.global_id)
    shown: Sequence[str] = record.cameras
    if len(shown) > _MAX_PLAIN_ROWS:
        shown = sorted(shown, key=lambda camera: not _in_trouble(told.get(camera, {})))[:_MAX_CAMERA_ROWS]
    rows = [_camera_cells(camera, told.get(camera, {}), record, people.get(camera, set())) for camera in shown]
    used = [i for i in range(len(_CAMERA_HEADS)) if any(row[i][0] for row in rows)]
    return _table([_CAMERA_HEADS[i] for i in used], ["".join(_cell(*row[i]) for i in used) for row in rows])


def _camera_cells(
    camera: str, facts: Mapping[str, Any], record: Record, people: Collection[int]
) -> list[tuple[str, str]]:
    """The cells of a camera under `_CAMERA_HEADS`: words and their kind."""
    state = str(facts.get("state", ""))
    cells = [
        (camera, "words"),
        (state, "words bad" if state in _TROUBLE else "words"),
        (str(facts.get("frames", "")), ""),
    ]
    cells += [(str(facts.get(key, "")), "bad" if facts.get(key) else "") for key in ("dropped", "broken", "reconnects")]
    cells.append((f"{facts['fps']:.4g}" if facts.get("fps") else "", ""))
    cells.append((f"{facts['width']}×{facts['height']}" if facts.get("width") else "", ""))
    cells += [(str(record.num_tracklets.get(camera, 0)), ""), (str(len(people)), "")]
    return [*cells, (str(facts.get("message", "")), "note")]


def _in_trouble(facts: dict[str, object]) -> bool:
    return (
        any(facts.get(key) for key in ("dropped", "broken", "reconnects", "message")) or facts.get("state") in _TROUBLE
    )


def _camera_note(record: Record) -> str:
    if len(record.cameras) <= _MAX_PLAIN_ROWS:
        return ""
    if len(record.cameras) <= _MAX_CAMERA_ROWS:
        return "Those with trouble first."
    return f"{_MAX_CAMERA_ROWS} of {len(record.cameras)} cameras, those with trouble first."


def _people(record: Record) -> str:
    heat = figures.cameras_over_time(record)
    num_rows = sum(camera in record.counts for camera in record.cameras)
    note = f"Individuals present in windows of {record.window_s:g} s, from counts.csv."
    if heat and num_rows > figures.MAX_HEAT_ROWS:
        note += f" Of {num_rows} cameras the {figures.MAX_HEAT_ROWS} with most people."
    return _section("People over time", figures.people_over_time(record) + heat, note)


def _timelines(record: Record) -> tuple[str, str]:
    chosen = sorted(record.people, key=lambda p: (-p.num_cameras, -p.num_frames, p.global_id))[: figures.MAX_TIMELINES]
    shown = sorted(chosen, key=lambda p: (p.first_s, p.global_id))
    note = "One row per identity, coloured by camera; paler where the identity is less certain. Hover for the details."
    if len(shown) < len(record.people):
        note += f" {len(shown)} of {len(record.people)} identities: those in most cameras, then those seen most."
    return figures.timelines(record, shown), note


def _matrix_note(record: Record) -> str:
    num = len({camera for pair in record.walks for camera in pair})
    note = "How often somebody was seen in one camera (row) and next in another (column), from transitions.csv. "
    note += "On the diagonal: left and came back."
    return note + (f" The {figures.MAX_MATRIX} busiest of {num} cameras." if num > figures.MAX_MATRIX else "")


def _floors(record: Record) -> str:
    rows = learned.floor_rows(record.known)
    return _table(learned.FLOOR_HEADS, ["".join(_cell(*cell) for cell in row) for row in rows]) if rows else ""


def _noted(record: Record) -> str:
    doubtful = sorted(
        (p for p in record.people if not math.isnan(p.confidence)), key=lambda p: (p.confidence, p.global_id)
    )[:_NUM_NOTED]
    longest = sorted(record.people, key=lambda p: (p.first_s - p.last_s, p.global_id))[:_NUM_NOTED]
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:48px"><div><p>Least certain</p>{_people_table(doubtful)}</div>'
        f"<div><p>Longest on the site</p>{_people_table(longest)}</div></div>"
        if record.people
        else ""
    )


def _people_table(people: Sequence[Person]) -> str:
    rows = []
    for person in people:
        sure = "" if math.isnan(person.confidence) else f"{person.confidence:.2f}"
        cells = [str(person.global_id), sure, svg.clock_text(person.first_s), svg.clock_text(person.last_s)]
        cells += [str(person.num_cameras), str(len(person.pieces))]
        rows.append("".join(_cell(cell) for cell in cells))
    return _table(["identity", "confidence", "from", "to", "cameras", "tracklets"], rows)


def _why_hint(record: Record) -> str:
    folder = escape(str(record.folder))
    return (
        "Confidence is that of the least certain tracklet. How an identity came to be: "
        f"<code>python -m pipeline why {folder} ID</code>; its pictures: "
        f"<code>python -m pipeline sheet {folder} ID</code>."
    )


def _events(record: Record) -> str:
    words = {
        "create": "identities founded",
        "link": "tracklets joined to an identity",
        "merge": "identities merged",
        "split": "tracklets split off",
        "close": "identities closed",
    }
    rows = [
        _cell(said, "words") + _cell(str(record.num_events[kind]))
        for kind, said in words.items()
        if kind in record.num_events
    ]
    if not record.num_events:
        return ""
    table = _table(["identities", "times"], rows)
    if not record.num_troubles:
        return table
    lines = [
        _cell(f"{line['time_s']:.1f} s" if "time_s" in line else "")
        + _cell(str(line.get("camera", "")), "words")
        + _cell(str(line["kind"]).removeprefix("camera_"), "words")
        + _cell(str(line.get("message", "")), "note")
        for line in record.troubles
    ]
    more = f"<p>The first {len(lines)} of {record.num_troubles}.</p>" if record.num_troubles > len(lines) else ""
    told = _table(["time", "camera", "event", "note"], lines)
    return f"{table}<p style='margin-top:18px'>Cameras</p>{told}{more}"


def _section(title: str, content: str, note: str = "") -> str:
    said = f"<p>{note}</p>" if note else ""
    return f"<section><h2>{title}</h2>{said}{content}</section>" if content else ""


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """`rows` are cells already."""
    named = "".join(
        f'<th class="words">{escape(head)}</th>' if head in _WORDS else f"<th>{escape(head)}</th>" for head in heads
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{named}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(words: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(words)}</td>' if kind else f"<td>{escape(words)}</td>"
