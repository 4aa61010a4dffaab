"""What was measured and seen, as tables for a terminal; builds rich tables and prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dragoman.evaluation.inspection import DecoderStep, Floats, Inspection

_SHOWN = 8
"""Numbers of the context vector that a table shows; JSON and SVG hold all."""
_BAR = 24
"""Width of the longest bar."""


def table(title: str, *headers: str, right: Sequence[str] = ()) -> Table:
    """An empty table in our style; the columns named in `right` are aligned to the right."""
    result = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        number = header in right
        result.add_column(Text(header), justify="right" if number else "left", no_wrap=number, overflow="fold")
    return result


def inspection_tables(inspection: Inspection) -> list[Table]:
    """Context, decoder steps and, with a reference, both ways of feeding and the gradients through time."""
    tables = [_encoder(inspection), _context(inspection), _steps(inspection)]
    if inspection.forced is not None:
        tables.append(_side_by_side(inspection, inspection.forced))
        tables.append(_gradients(inspection, inspection.forced))
    if inspection.gradient_left is not None:
        tables.append(_fading(inspection.gradient_left))
    return tables


def _encoder(inspection: Inspection) -> Table:
    headers = ("position", "token", "id", "closest embeddings", "summary so far")
    result = table("Encoder", *headers, right=["position", "id", "summary so far"])
    for number, token in enumerate(inspection.source, 1):
        close = "  ".join(f"{name} {cosine:.2f}" for name, cosine in token.neighbours)
        result.add_row(str(number), Text(token.token), str(token.id), Text(close), f"{token.summary:.2f}")
    return result


def _context(inspection: Inspection) -> Table:
    context = inspection.context
    result = table("Context vector", "size", "norm", "first numbers", right=["size", "norm"])
    numbers = " ".join(f"{value:+.3f}" for value in context[:_SHOWN])
    result.add_row(str(len(context)), f"{np.linalg.norm(context):.3f}", numbers + " …" * (len(context) > _SHOWN))
    return result


def _steps(inspection: Inspection) -> Table:
    looks = ["looks at"] if inspection.attention is not None else []
    result = table("Decoder, fed its own words", "step", "input", "best next words", *looks, right=["step"])
    for number, step in enumerate(inspection.steps, 1):
        cells: list[str | Text] = [str(number), Text(step.input), Text(_words(step))]
        if inspection.attention is not None:
            weights = inspection.attention[number - 1]
            best = np.argsort(-weights, kind="stable")[:2]
            cells.append(Text("  ".join(f"{inspection.source_tokens[i]} {weights[i]:.2f}" for i in best)))
        result.add_row(*cells)
    return result


def _words(step: DecoderStep) -> str:
    return "  ".join(f"{word.token} {word.probability:.2f}" for word in step.candidates)


def _side_by_side(inspection: Inspection, forced: Sequence[DecoderStep]) -> Table:
    result = table(
        "Fed the reference (teacher forcing) against fed its own words",
        "step", "expected", "reads", "says", "p(expected)", "", "reads itself", "says itself", right=["step", "p(expected)"],
    )  # fmt: skip
    for index in range(max(len(forced), len(inspection.steps))):
        cells: list[str | Text] = [str(index + 1)]
        if index < len(forced):
            step = forced[index]
            mark = "" if step.right else "wrong"
            cells += [
                Text(step.expected or ""),
                Text(step.input),
                Text(step.chosen),
                f"{step.expected_probability:.3f}",
                mark,
            ]
        else:
            cells += [""] * 5
        if index < len(inspection.steps):
            own = inspection.steps[index]
            cells += [Text(own.input), Text(own.chosen)]
        result.add_row(*cells)
    return result


def _gradients(inspection: Inspection, forced: Sequence[DecoderStep]) -> Table:
    """Of each step's loss: the gradient norm at its own decoder state, at the first, and at both ends of the source."""
    encoder, decoder = inspection.encoder_gradients, inspection.decoder_gradients
    assert encoder is not None
    assert decoder is not None
    ends = [len(inspection.source) - 1, 0][: len(inspection.source)]  # a source of one token has one end
    places = ["own state", "first state", *(f"source: {inspection.source_tokens[end]}" for end in ends)]
    result = table(
        "Gradient norm of each step's loss (back-propagation through time)",
        "step", "expected", "loss", *places, right=["step", "loss", *places],
    )  # fmt: skip
    for index, step in enumerate(forced):
        loss = abs(np.log(max(step.expected_probability or 0.0, 1e-300)))  # abs: of a sure word it is 0, not -0
        norms = (decoder[index, index], decoder[index, 0], *encoder[index, ends])
        result.add_row(str(index + 1), Text(step.expected or ""), f"{loss:.3f}", *(f"{norm:.1e}" for norm in norms))
    return result


def _fading(left: Floats) -> Table:
    """How the gradient vanishes (or explodes) with the distance."""
    headers = ("steps back", "gradient left", "")
    result = table("How the gradient fades through time", *headers, right=headers[:2])
    for distance, share in enumerate(left):
        result.add_row(str(distance), f"{100 * share:.3g} %", "█" * round(_BAR * min(float(share), 1.0)))
    return result
