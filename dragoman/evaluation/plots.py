"""Pictures as SVG text, the same bytes for the same values; knows arrays and labels, not models (and needs no torch).

Labels stay text in the file, so that the viewer's fonts draw Hangul, kana or Arabic, which matplotlib's own cannot.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dragoman.evaluation.calibration import Coverage, Reliability
    from dragoman.evaluation.exposure import Gap
    from dragoman.evaluation.inspection import DecoderStep, Inspection

Floats = NDArray[np.floating[Any]]

BLUE, ORANGE, GREEN, GREY = "#2b6ca3", "#d9822b", "#3a8f5c", "#777777"
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dragoman",  # ids of elements do not change from run to run
    "text.parse_math": False,  # a "$" in a token is a dollar
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def _svg(draw: Callable[[], Figure]) -> str:
    """Draw in our style and return SVG text."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # whatever a matplotlibrc of the user's says, or one in the folder that they are in
        mpl.rcParams.update(_STYLE)
        # The font that measures text lacks most scripts; the viewer's fonts draw them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        file = io.StringIO()
        draw().savefig(file, format="svg", metadata={"Date": None, "Creator": "dragoman"})
    return file.getvalue()


def printable(token: str) -> str:
    """A token as a label: white space and what cannot be printed (or stand in XML) is escaped."""
    if token.isprintable() and token.strip():
        return token
    return "".join(c if c.isprintable() and c != " " else "␣" if c == " " else ascii(c)[1:-1] for c in token)


def training_svg(history: Sequence[Mapping[str, Any]]) -> str:
    """The curves of a training run from its evaluations, each a mapping with these keys (others are ignored):

    `step`, `train_loss`, `dev_loss`, `learning_rate`, and, unless `metric` is "loss", the dev `score` by `metric`.
    A `best` entry gets a mark. A history of one entry gives dots, an empty one empty axes.
    """
    return _svg(lambda: _training(history))


def _training(history: Sequence[Mapping[str, Any]]) -> Figure:
    scored = [row for row in history if row.get("metric", "loss") != "loss" and row.get("score") is not None]
    panels = 3 if scored else 2
    figure = _row(panels)
    axes = figure.subplots(1, panels)
    losses, rates = axes[0], axes[-1]
    _curve(losses, history, "train_loss", "train loss", GREY)
    _curve(losses, history, "dev_loss", "dev loss", BLUE)
    if losses.lines:
        losses.legend(frameon=False, loc="upper right")
    losses.set_title("Loss (nats per target token)")
    _curve(rates, history, "learning_rate", "learning rate", GREEN)
    rates.set_title("Learning rate")
    if scored:
        _curve(axes[1], scored, "score", str(scored[-1]["metric"]), ORANGE)
        axes[1].set_title(f"Dev score ({scored[-1]['metric']})")
        best = [row for row in scored if row.get("best")]
        if best:
            axes[1].plot([best[-1]["step"]], [best[-1]["score"]], "o", color=ORANGE)
            axes[1].set_title(f"Dev score ({best[-1]['metric']}), best {best[-1]['score']:.2f}")
    for axis in axes:
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return figure


def _curve(axis: Any, history: Sequence[Mapping[str, Any]], key: str, label: str, color: str) -> None:
    points = [(row["step"], row[key]) for row in history if row.get(key) is not None and np.isfinite(row[key])]
    if points:
        steps, values = zip(*points, strict=True)
        axis.plot(steps, values, "." if len(points) == 1 else "-", color=color, label=label)


def _row(panels: int) -> Figure:
    """An empty figure for some panels side by side."""
    figure = Figure(figsize=(4.2 * panels, 3.2))
    figure.subplots_adjust(left=0.5 / panels / 4.2, right=1 - 0.2 / panels / 4.2, bottom=0.16, top=0.89, wspace=0.2)
    return figure


def inspection_svg(inspection: Inspection) -> str:
    """One picture of a look inside: context vector, next words, attention; with a reference also gradients through time."""
    return _svg(lambda: _inspection(inspection))


def _inspection(inspection: Inspection) -> Figure:
    steps, forced = inspection.steps, inspection.forced
    source = [printable(token) for token in inspection.source_tokens]
    panels = [_context(inspection.context), _words(steps, "fed its own words")]
    if inspection.attention is not None:
        chosen = [printable(step.chosen) for step in steps]
        title = "Attention: where each output word looks"
        panels.append(_matrix(inspection.attention, chosen, source, title, limits=(0.0, 1.0)))
    if forced is not None and inspection.encoder_gradients is not None and inspection.decoder_gradients is not None:
        expected = [printable(step.expected or "") for step in forced]
        inputs = [printable(step.input) for step in forced]
        encoder, decoder = _logarithms(inspection.encoder_gradients), _logarithms(inspection.decoder_gradients)
        title = "Gradient norm of each word's loss at every {} state (log10)"
        panels.append(_words(forced, "fed the reference"))
        panels.append(_matrix(encoder, expected, source, title.format("encoder")))
        panels.append(_matrix(decoder, expected, inputs, title.format("decoder")))
    return _stack(panels)


@dataclass(frozen=True)
class _Panel:
    """One part of a picture; all sizes in inches."""

    width: float
    height: float
    below: float
    """Room for the labels of the columns."""
    left: float
    """Room for the labels of the rows."""
    draw: Callable[[Any], None]


def _stack(panels: Sequence[_Panel]) -> Figure:
    """Panels above each other, their left edges in line.

    The places are computed here: layout engines measure text, which fonts without the glyphs cannot, and their solvers
    do not give the same last digits every time.
    """
    above, right = 0.45, 1.0
    left = max(panel.left for panel in panels)
    width = max(left + panel.width + right for panel in panels)
    height = sum(above + panel.height + panel.below for panel in panels)
    figure = Figure(figsize=(width, height))
    top = height
    for panel in panels:
        bottom = top - above - panel.height
        axis = figure.add_axes((left / width, bottom / height, panel.width / width, panel.height / height))
        panel.draw(axis)
        top = bottom - panel.below
    return figure


def _room(labels: Sequence[str]) -> float:
    """Inches that the longest label takes; East Asian characters are twice as wide."""
    widest = max((sum(1 + (east_asian_width(c) in "WF") for c in label) for label in labels), default=0)
    return 0.3 + 0.08 * widest


def _tall(rows: int) -> float:
    return min(40.0, 0.3 * rows)


def _logarithms(norms: Floats) -> Floats:
    """log10, with NaN (left blank) where there is no gradient."""
    return np.asarray(np.log10(norms, out=np.full(norms.shape, np.nan), where=norms > 0))


def _context(context: Floats) -> _Panel:
    def draw(axis: Any) -> None:
        limit = float(np.abs(context).max()) or 1.0
        image = axis.imshow(context[None, :], aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(f"Context vector: {len(context)} numbers, norm {np.linalg.norm(context):.2f}", loc="left")
        axis.set_yticks([])
        axis.grid(visible=False)
        _bar(axis, image)

    return _Panel(7.0, 0.5, 0.4, 0.3, draw)


def _words(steps: Sequence[DecoderStep], how: str) -> _Panel:
    count = max(len(step.candidates) for step in steps)
    inputs = [printable(step.input) for step in steps]
    table = np.zeros((len(steps), count))
    for row, step in enumerate(steps):
        table[row, : len(step.candidates)] = [word.probability for word in step.candidates]

    def draw(axis: Any) -> None:
        ranks = [str(k + 1) for k in range(count)]
        image = heat_map(axis, table, inputs, ranks, f"Next words and their probabilities, {how}", limits=(0.0, 1.0))
        _bar(axis, image)
        for row, step in enumerate(steps):
            for column, word in enumerate(step.candidates):
                color = "white" if word.probability > 0.55 else "black"
                label = f"{printable(word.token)} {word.probability:.2f}"
                axis.text(column, row, label, ha="center", va="center", color=color, fontsize=7)

    return _Panel(1.4 * count, _tall(len(steps)), 0.4, _room(inputs), draw)


def _matrix(
    values: Floats,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    *,
    limits: tuple[float, float] | None = None,
) -> _Panel:
    def draw(axis: Any) -> None:
        _bar(axis, heat_map(axis, values, rows, columns, title, limits=limits))

    return _Panel(max(3.0, min(40.0, 0.5 * len(columns))), _tall(len(rows)), _room(columns), _room(rows), draw)


def heat_map(
    axis: Any,
    values: Floats,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    *,
    limits: tuple[float, float] | None = None,
) -> Any:
    """Draw a matrix, (rows, columns), with its labels, and return the image; NaN stays blank."""
    low, high = limits or (None, None)
    image = axis.imshow(values, aspect="auto", cmap="Blues", vmin=low, vmax=high)
    axis.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns), default=0) > 2 else 0)
    axis.set_yticks(range(len(rows)), rows)
    axis.set_title(title, loc="left")
    axis.grid(visible=False)
    return image


def _bar(axis: Any, image: Any) -> None:
    """A colour bar to the right of `axis`."""
    axis.figure.colorbar(image, cax=axis.inset_axes([1.015, 0.0, 0.015, 1.0]))


def gap_svg(gap: Gap) -> str:
    """Accuracy per position and after the first error, fed the truth and fed its own words."""
    return _svg(lambda: _gap(gap))


def _gap(gap: Gap) -> Figure:
    figure = _row(2)
    left, right = figure.subplots(1, 2, sharey=True)
    positions = np.arange(1, len(gap.counts) + 1)
    left.plot(positions, 100 * gap.forced_accuracy, ".-", color=BLUE, label="fed the reference")
    left.plot(positions, 100 * gap.free_accuracy, ".-", color=ORANGE, label="fed its own words")
    left.set_title("Accuracy by position (%)")
    left.set_xlabel("position")
    distances = np.arange(1, len(gap.forced_after_error) + 1)
    right.plot(distances, 100 * gap.forced_after_error, ".-", color=BLUE, label="fed the reference")
    right.plot(distances, 100 * gap.free_after_error, ".-", color=ORANGE, label="fed its own words")
    right.set_title("Accuracy after the first error (%)")
    right.set_xlabel("words after the first error")
    left.legend(frameon=False)
    return figure


def calibration_svg(reliability: Reliability, coverage: Coverage) -> str:
    """Reliability diagram (confidence against accuracy) and risk-coverage curve."""
    return _svg(lambda: _calibration(reliability, coverage))


def _calibration(reliability: Reliability, coverage: Coverage) -> Figure:
    figure = _row(2)
    left, right = figure.subplots(1, 2)
    left.plot([0, 100], [0, 100], "--", color=GREY)
    bins = reliability.bins
    left.bar(
        [50 * (b.low + b.high) for b in bins],
        [100 * b.accuracy for b in bins],
        width=[90 * (b.high - b.low) for b in bins],
        color=BLUE,
    )
    left.set_title(f"Reliability: expected calibration error {100 * reliability.error:.2f} %")
    left.set_xlabel("confidence (%)")
    left.set_ylabel("right (%)")
    right.plot(100 * coverage.coverage, 100 * coverage.risk, color=ORANGE)
    right.set_title(f"Risk by coverage: area {coverage.area:.4f}")
    right.set_xlabel("answered (%)")
    right.set_ylabel("wrong among the answered (%)")
    return figure
