"""Pictures: well-formed SVG, the same bytes every time, every label as text, no warning for any script."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from dragoman.evaluation import calibration, exposure, plots
from dragoman.evaluation.inspection import DecoderStep, Inspection, NextWord, SourceToken

HISTORY = [
    {"step": 100 * k, "train_loss": 5 / k, "dev_loss": 6 / k, "metric": "bleu", "score": 30 - 20 / k, "best": k == 8,
     "learning_rate": 1e-3 / k, "seconds": 7.0 * k}
    for k in range(1, 10)
]  # fmt: skip


def texts(svg: str) -> list[str]:
    """All texts of a picture; fails if it is not well-formed XML."""
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def curves(svg: str, color: str) -> int:
    """How many drawn lines have this colour."""
    return sum(f"stroke: {color}" in (node.get("style") or "") for node in ElementTree.fromstring(svg).iter())


def look(tokens: list[str], *, reference: bool = True, attention: bool = True) -> Inspection:
    """A made-up inspection whose source and words are `tokens`."""
    random = np.random.default_rng(0)
    steps = tuple(
        DecoderStep(token, tuple(NextWord(t, 9, 0.1) for t in tokens[:5]), token, token, 0.5) for token in tokens
    )
    size = len(tokens)
    return Inspection(
        source=tuple(SourceToken(token, 4, (), 0.5) for token in tokens),
        context=random.normal(size=16),
        steps=steps,
        finished=False,
        attention=random.dirichlet(np.ones(size), size) if attention else None,
        forced=steps if reference else None,
        encoder_gradients=random.random((size, size)) if reference else None,
        decoder_gradients=np.tril(random.random((size, size))) if reference else None,
    )


def test_training_curves_show_losses_score_and_rate() -> None:
    svg = plots.training_svg(HISTORY)
    found = texts(svg)
    for label in ("train loss", "dev loss", "Dev score (bleu), best 27.50", "Learning rate", "step"):
        assert label in found
    assert curves(svg, plots.BLUE) >= 1


def test_training_by_loss_alone_has_no_score_panel() -> None:
    rows = [{**row, "metric": "loss", "score": row["dev_loss"]} for row in HISTORY]
    assert not any("score" in text for text in texts(plots.training_svg(rows)))


@pytest.mark.parametrize("history", [[], HISTORY[:1], [{**HISTORY[0], "train_loss": float("nan")}, HISTORY[1]]])
def test_short_and_broken_histories_are_drawn(history: list[dict[str, Any]]) -> None:
    assert "Learning rate" in texts(plots.training_svg(history))


def test_pictures_are_the_same_bytes_every_time() -> None:
    assert plots.training_svg(HISTORY) == plots.training_svg(HISTORY)
    tokens = ["나", "는"]
    assert plots.inspection_svg(look(tokens)) == plots.inspection_svg(look(tokens))


def test_pictures_do_not_depend_on_how_the_user_draws() -> None:
    """A matplotlibrc may ask for LaTeX, which the next evaluation of a training would not find."""
    expected = plots.training_svg(HISTORY)
    with mpl.rc_context({"text.usetex": True, "savefig.bbox": "tight", "lines.linewidth": 9}):
        assert plots.training_svg(HISTORY) == expected
        assert mpl.rcParams["text.usetex"]


@pytest.mark.parametrize(
    "tokens",
    [
        ["▁나", "는", "학교", "에", "간다"],
        ["彼は", "学生", "です", "。"],
        ["كتاب", "שלום", "नमस्ते", "ภาษา", "🙂"],
        ["$x$", "<unk>", "&amp;", "[b]", "{}", "\\frac", "%d", '"'],
    ],
)
def test_every_script_stays_text_without_a_warning(tokens: list[str]) -> None:
    found = texts(plots.inspection_svg(look(tokens)))
    for token in tokens:
        assert token in found


def test_what_no_file_may_hold_is_escaped() -> None:
    tokens = ["\x00", "a\nb", " ", "\ud800", "\u2028", ""]
    found = texts(plots.inspection_svg(look(tokens)))
    for label in (r"\x00", r"a\nb", "␣", r"\ud800", r"\u2028"):
        assert label in found
    assert plots.printable("né") == "né"


def test_panels_follow_what_there_is() -> None:
    everything = "\n".join(texts(plots.inspection_svg(look(["a", "b"]))))
    little = "\n".join(texts(plots.inspection_svg(look(["a", "b"], reference=False, attention=False))))
    for title in ("Attention", "encoder state", "decoder state", "fed the reference"):
        assert title in everything
        assert title not in little
    assert "Context vector: 16 numbers" in little
    assert "fed its own words" in little


def test_gap_and_calibration_are_drawn() -> None:
    gap = exposure.measure_gap([[4, 5, 3]] * 2, [[4, 6, 3]] * 2, [[4, 6, 7, 3], [4, 6, 3]])
    assert "Accuracy by position (%)" in texts(plots.gap_svg(gap))
    confidences, right = [0.1, 0.6, 0.9], [False, True, True]
    pair = calibration.reliability(confidences, right), calibration.risk_coverage(confidences, right)
    assert any(
        text.startswith("Reliability: expected calibration error") for text in texts(plots.calibration_svg(*pair))
    )


def test_training_can_draw_without_torch_or_a_screen() -> None:
    code = (
        "import sys; from dragoman.evaluation.plots import training_svg; training_svg([]);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib.pyplot', 'sacrebleu')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
