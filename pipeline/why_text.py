"""The stories that `pipeline.why` gathers, in lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_WORDS = {
    "similarity": "appearance similarity {:.3f}",
    "ground_m": "{:.2f} m apart on the floor",
    "gap_s": "unseen for {:.2f} s",
    "confidence": "confidence {:.3f}",
}
_MARGIN = "margin"
_NATS = (
    "appearance",
    "travel",
    "motion",
    "floor",
    "reranked",
    "time",
    "zone",
    "prior",
    "total",
)  # evidence, natural logarithms


def identity_text(story: Mapping[str, Any]) -> Iterator[str]:
    """The story of an identity in lines to read."""
    gid, asked = story["global_id"], story["asked_for"]
    if gid != asked:
        yield f"Identity {asked} was merged into identity {gid}; this is the story of {gid}."
    parts = story["tracklets"]
    cameras = {part["camera"] for part in parts}
    if parts:
        first_s, last_s = min(p["first_s"] for p in parts), max(p["last_s"] for p in parts)
        yield (
            f"Identity {gid}: {_number(len(parts), 'tracklet')} in {_number(len(cameras), 'camera')}, "
            f"{first_s:.2f} to {last_s:.2f} s"
        )
    else:
        yield f"Identity {gid}: no tracklet has it any more"
    for part in parts:
        yield (
            f"  {part['tracklet']:<12} {part['first_s']:9.2f} to {part['last_s']:9.2f} s  "
            f"{_number(part['num_frames'], 'frame')}"
        )
    yield ""
    yield "How it came to be:"
    for event in story["events"]:
        yield from event_text(event)
    if story.get("compared_now"):
        yield ""
        yield "From each tracklet to the next, by what was known at the end of the run:"
        for step in story["compared_now"]:
            yield from now_text(step)


def pair_text(story: Mapping[str, Any]) -> Iterator[str]:
    """The story of two tracklets in lines to read."""
    names = [parts[0]["tracklet"] for parts in story["tracklets"]]
    for name, parts, ids in zip(names, story["tracklets"], story["global_ids"], strict=True):
        first_s, last_s = min(p["first_s"] for p in parts), max(p["last_s"] for p in parts)
        who = ", ".join(f"identity {gid}" for gid in ids) or "nobody decided"
        yield f"{name}: {first_s:.2f} to {last_s:.2f} s, {who}"
    if story["same"]:
        yield f"{names[0]} and {names[1]} are the same person."
    else:
        yield f"{names[0]} and {names[1]} are not taken for the same person."
        yield from (f"  {reason}" for reason in story["reasons"])
    yield ""
    yield "What was decided about them:"
    for event in story["events"]:
        yield from event_text(event)
    if story.get("compared_now"):
        yield ""
        yield "Compared anew, by what was known at the end of the run:"
        yield from now_text(story["compared_now"])
        yield f"  {_verdict(story['same'], story['compared_now'])}"


def now_text(now: Mapping[str, Any]) -> Iterator[str]:
    """Two tracklets compared by what was known at the end of a run."""
    gap = f", unseen for {now['gap_s']:.2f} s" if now.get("gap_s") else ""
    yield f"  {now['earlier']} -> {now['later']}{gap}"
    if "similarity" in now:
        place = f", place {now['reranked_place']} of the candidates" if "reranked_place" in now else ""
        yield f"{'':15}appearance similarity {now['similarity']:.3f}, re-ranked {now['reranked']:.3f}{place}"
    if not now["possible"]:
        yield f"{'':15}nobody can be both: one person would be in two places at once"
        return
    nats = [name for name in ("prior", "appearance", "travel", "motion", "total") if name in now]
    yield f"{'':15}evidence: {', '.join(f'{name} {now[name]:+.2f}' for name in nats)}"
    if "p_same" in now:
        who = f"; runner-up: {now['runner_up']}, behind by {now['margin']:.2f}" if "runner_up" in now else ""
        if "runner_up" in now and now["margin"] < 0:
            who = f"; likelier: {now['runner_up']}, ahead by {-now['margin']:.2f}"
        yield f"{'':15}P(same) {now['p_same']:.3f} among {_number(now['candidates'], 'candidate')}{who}"


def _verdict(same: bool, now: Mapping[str, Any]) -> str:
    if not now["possible"]:
        agrees = not same
    elif "p_same" in now:
        agrees = same == (now["p_same"] >= now["needed"])
    else:
        return "They were in view at once: only what cameras saw of the floor could join them."
    if agrees:
        return "It is the same decision."
    if same:
        return "This pair alone would not be joined now; what joined them stands above."
    return "By what was known at the end they would be joined; less was known when they were decided."


def event_text(event: Mapping[str, Any]) -> Iterator[str]:
    """One event with its evidence: what happened, and below it what spoke for it."""
    when = f"{event['time_s']:9.2f} s" if event.get("time_s") is not None else " " * 11
    yield f"  {when}  {_happening(event)}"
    evidence = event["evidence"]
    said = [words.format(evidence[name]) for name, words in _WORDS.items() if name in evidence]
    if evidence.get("gap_s", 1.0) <= 0:
        said[said.index(_WORDS["gap_s"].format(evidence["gap_s"]))] = "seen at the same time"
    if said:
        yield f"{'':15}{', '.join(said)}"
    nats = [name for name in (*_NATS, *sorted(set(evidence) - set(_NATS))) if name in evidence]
    nats = [name for name in nats if name not in _WORDS and name != _MARGIN]
    if nats:
        yield f"{'':15}evidence: {', '.join(f'{name} {evidence[name]:+.2f}' for name in nats)}"
    if event["kind"] in ("create", "link"):
        yield f"{'':15}{_runner_up(event)}"
    if "again" in event:
        yield f"{'':15}{_again(event)}"


def _again(event: Mapping[str, Any]) -> str:
    again = event["again"]
    verdict = "the same decision" if again["same"] else "NOT the same decision: other rules or files than its own"
    if event["kind"] == "create":
        return f"made again: P(one of those known) {again['p_same']:.3f}, {again['needed']:.2f} needed: {verdict}"
    return (
        f"made again: prior {again['prior']:+.2f}, total {again['total']:+.2f}, P(same) {again['p_same']:.3f} "
        f"({again['p_told']:.3f} beside all others), {again['needed']:.2f} needed: {verdict}"
    )


def _happening(event: Mapping[str, Any]) -> str:
    gid, other = event["global_id"], event.get("other_id")
    match event["kind"]:
        case "create":
            return f"{event['tracklet']} founds identity {gid}"
        case "link":
            return f"{event['tracklet']} joins identity {gid}"
        case "merge":
            return f"identity {other} is found to be identity {gid}: all its tracklets become {gid}"
        case "split":
            return f"{event['tracklet']} leaves identity {other}: from here on it is identity {gid}"
        case _:
            return f"identity {gid} is closed: it takes no more tracklets"


def _runner_up(event: Mapping[str, Any]) -> str:
    other, margin = event.get("other_id"), event["evidence"].get(_MARGIN)
    if not other:
        return "no other identity came into question"
    if margin is None:
        return f"runner-up: identity {other}"
    if margin < 0:
        return f"likelier by {-margin:.2f}, but not by enough: identity {other}"
    return f"runner-up: identity {other}, behind by {margin:.2f}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
