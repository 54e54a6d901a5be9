"""Plots as PNG bytes; no window, no global state of matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from reelgenre.training.runs import mean_and_spread

OURS, PAPERS = "#1f6fb4", "#b9bec5"


def bars(
    rows: Sequence[tuple[str, float | None, Sequence[float] | None]], title: str, paper: str
) -> bytes:
    """Horizontal bars of mAP: the paper's and ours with the spread over seeds.

    Args:
        rows: title, the paper's percentage if any, our values per seed (0 to 1) if any.
        title: of the plot.
        paper: how the legend names the grey bars.
    """
    figure = Figure(figsize=(7.5, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, reported, ours) in enumerate(rows):
        if reported is not None:
            axes.barh(place - 0.2, reported, 0.36, color=PAPERS, label=paper)
        if ours is not None:
            mean, spread = mean_and_spread(ours)
            error = 100 * spread if len(ours) > 1 else None
            axes.barh(place + 0.2, 100 * mean, 0.36, color=OURS, xerr=error, label="here")
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("mAP on the test split, %")
    axes.set_title(title)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), frameon=False)
    return _png(figure)


def lines(series: Mapping[str, Mapping[int, Sequence[float]]], title: str, x_label: str) -> bytes:
    """Lines of mAP over a number, with the spread over seeds.

    Args:
        series: by name, values per seed (0 to 1) by x.
        title: of the plot.
        x_label: of its axis, which is logarithmic to base 2.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for (name, points), marker in zip(series.items(), "osd^", strict=False):
        stats = [mean_and_spread(values) for values in points.values()]
        axes.errorbar(
            list(points),
            [100 * mean for mean, _ in stats],
            yerr=[0.0 if spread != spread else 100 * spread for _, spread in stats],
            marker=marker,
            capsize=3,
            label=name,
        )
        axes.set_xticks(list(points), [str(x) for x in points])
    axes.set_xscale("log", base=2)
    if series:
        ticks = list(next(iter(series.values())))
        axes.set_xticks(ticks, [str(x) for x in ticks])
    axes.set_xlabel(x_label)
    axes.set_ylabel("mAP on the test split, %")
    axes.set_title(title)
    axes.legend(frameon=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
