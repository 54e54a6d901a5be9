"""Results as text for people: bars, modalities, the strongest evidence."""

from __future__ import annotations

from reelgenre.results import EvidenceItem, GenreResult

_BAR = 24
_TEXT_LINES = 4
_FRAMES = 5
_WORDS = 4
# Of log-odds; less is no reason.
_LEAST_SHARE = 0.02
_HEADINGS = {
    "speech": "said",
    "title": "shown",
    "tag": "heard",
    "face": "face",
    "sentiment": "sentiment",
}
_LABELS = {"frames": "picture", "screen_text": "on-screen text"}


def render_result(result: GenreResult, top: int) -> str:
    """A readable page on one file; plain text, so that it can be piped and kept."""
    lines = [
        "",
        f"{printable(result.path)}  ({clock(result.duration_s)})",
        "",
        *_genre_lines(result, top),
        "",
        "  " + _modalities(result),
    ]
    evidence = _evidence_lines(result)
    if evidence:
        lines += ["", "  Why", *evidence]
    lines += [f"  Warning: {printable(warning)}" for warning in result.warnings]
    total = result.timings["total"]
    lines += ["", f"  {total:.1f} s ({total / max(result.duration_s, 1e-3):.2f} x duration)"]
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def printable(text: str) -> str:
    """Without control characters: a file's name or a title must not steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _genre_lines(result: GenreResult, top: int) -> list[str]:
    lines = []
    for rank, score in enumerate(result.genres):
        if rank >= top and score.genre not in result.predicted:
            continue
        filled = round(score.probability * _BAR)
        mark = "*" if score.genre in result.predicted else " "
        bar = "█" * filled + "·" * (_BAR - filled)
        lines.append(f"  {mark} {score.genre:<12} {bar} {100 * score.probability:3.0f} %")
    lines.append("  * at or above the genre's threshold")
    return lines


def _modalities(result: GenreResult) -> str:
    parts = []
    for name, report in result.modalities.items():
        label = _LABELS.get(name, name)
        what = f"{report.steps} steps" if report.present else "none"
        parts.append(f"{label}: {what}")
    return ", ".join(parts)


def _evidence_lines(result: GenreResult) -> list[str]:
    lines: list[str] = []
    for kind, heading in _HEADINGS.items():
        of_kind = [item for item in result.evidence if item.kind == kind][:_TEXT_LINES]
        for item in of_kind:
            text = printable(item.text or "")
            lines.append(f"    {clock(item.start):>5}  {heading} “{text}”{_raises(item)}")
    lines += _word_lines(result)
    frames = [item for item in result.evidence if item.kind == "frame" and item.genres]
    lines += [f"    {clock(item.start):>5}  frame{_raises(item)}" for item in frames[:_FRAMES]]
    return lines


def _word_lines(result: GenreResult) -> list[str]:
    """One line for the words that told most; each alone says little."""
    words = [
        f"{printable(item.text or '')}{_raises(item)}"
        for item in result.evidence
        if item.kind == "word" and item.genres and item.genres[0][1] >= _LEAST_SHARE
    ]
    return [f"           words  {'; '.join(words[:_WORDS])}"] if words else []


def _raises(item: EvidenceItem) -> str:
    told = [f"{genre} {share:+.2f}" for genre, share in item.genres if share >= _LEAST_SHARE]
    return "  → " + ", ".join(told) if told else ""
