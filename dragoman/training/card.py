"""The model card: what a model is, what it was trained on and how well it does, as Markdown; knows no tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dragoman.errors import at_most, counted, duration
from dragoman.storage import part_size, sides_of
from dragoman.training.recipe import PARTS_OF


def model_card(config: dict[str, Any]) -> str:
    """The card of a model directory, from its configuration."""
    scores, run = config.get("scores", {}), config.get("run", {})
    parts = [
        "---\nlibrary_name: dragoman\ntags: [sequence-to-sequence, recurrent]\n---",
        f"# {config['name']}",
        "A recurrent sequence-to-sequence model, trained with dragoman "
        f"{config['dragoman_version']} (preset `{config['options'].get('preset', 'default')}`).",
        "## Scores\n\n" + _scores(scores),
        "## Data\n\n" + _data(config),
        "## Model\n\n" + _model(config),
        "## Training\n\n" + _run(run, config),
    ]
    return "\n\n".join(parts) + "\n"


def _scores(scores: dict[str, Any]) -> str:
    rows = ["| part | metric | score | how |", "|---|---|---|---|"]
    for part, score in scores.items():
        how = f"{counted(score['items'], 'source')}, {counted(score['references'], 'reference')}, {score['search']}"
        for name in ("bleu", "chrf", "exact_match", "cer", "wer"):
            if name in score:
                # A bare | would end the cell, within back-quotes too.
                signature = score.get("signatures", {}).get(name, "").replace("|", r"\|")
                rows.append(f"| {part} | {name} | {score[name]:.2f} | {how}{f', `{signature}`' if signature else ''} |")
    return "\n".join(rows) if len(rows) > 2 else "None yet: training was stopped before it was scored."


def _data(config: dict[str, Any]) -> str:
    data = config["data"]
    read = data["read"]
    unusable = sum(reason["count"] for reason in read["unusable"].values())
    rows = [
        f"- file: {read['name'] or 'pairs given in Python'}, {counted(read['usable'], 'usable pair')}, {counted(unusable, 'unusable row')}",
        f"- fingerprint of the pairs: `{data['fingerprint']}`",
        f"- split {data['split']}",
    ]
    for part in ("train", "dev", "test"):
        if data[part]:
            files = f" ({', '.join(data[part]['files'])})" if data[part].get("files") else ""
            rows.append(f"- {part}: {part_size(config, part)}{files}")
    if data.get("remade"):
        rows.append(f"- {_remade(data['remade'])}")
    return "\n".join(rows)


def _remade(made: dict[str, Any]) -> str:
    """What models had to do with the training pairs."""
    true, pairs = counted(made["from"]["pairs"], "true pair"), counted(made["pairs"] - made.get("shared", 0), "pair")
    if made["kind"] == "distillation":
        return f"distillation: trained on {pairs} that a teacher made, in the place of {true}"
    times = f", each {made['repeat']} times" if made["repeat"] > 1 else ""
    return f"back-translation: trained on {true}{times}, and on {pairs} whose sources a reverse model made"


def _model(config: dict[str, Any]) -> str:
    architecture = config["architecture"]
    same = architecture["encoder_layers"] == architecture["decoder_layers"]
    bridge = "the identity: each layer's last state is copied" if same else "learned, since the depths differ"
    rows = [f"- {name}: {value}" for name, value in [*sides_of(config), *architecture.items()]]
    if config.get("onnx"):
        onnx = config["onnx"]
        rows.append(f"- ONNX graphs: opset {onnx['opset']}; {onnx['default']} runs by default")
        rows += [f"  - {precision}: {_graphs(parity)}" for precision, parity in onnx["precisions"].items()]
    return "\n".join([f"- parameters: {config['parameters']:,}", f"- bridge: {bridge}", *rows])


def _graphs(parity: dict[str, Any]) -> str:
    words = (
        f"{parity['same']:,} of {counted(parity['sources'], 'greedy output')} and {parity['token_agreement']:.1%} of tokens the same as "
        f"PyTorch's, log-probabilities within {at_most(parity['largest_difference'])}"
    )
    if not parity["loss"]:
        return words
    changes = ", ".join(f"{name} {round(-value, 2) + 0.0:+.2f}" for name, value in parity["loss"].items())
    return f"{words}; against float32 {changes} on {counted(parity['scored'], 'source')}"


def _run(run: dict[str, Any], config: dict[str, Any]) -> str:
    rows = []
    if run:
        rows += [
            f"- {counted(run['steps'], 'step')}, {run['epochs']:.2f} epochs, {duration(run['seconds'])}; ended by: "
            f"{run['finished']}; the weights are those of step {run['best_step']:,}",
        ]
        if "forecast" in config:
            rows.append(f"- {beside_plan(config['forecast'], run)}")
    if config.get("command"):
        rows.append(f"- command: `{config['command']}`")
    rows.append(f"- options given: {_listed(config['options'].items())}")
    rows += [
        f"- from step {each['step']:,} on: {_listed(each['options'].items())}" for each in config.get("resumed", [])
    ]
    rows.append(f"- values, given or chosen: {_listed(_values(config))}")
    return "\n".join(rows)


def _listed(values: Iterable[tuple[str, Any]]) -> str:
    text = ", ".join(f"{name}={value}" for name, value in values)
    return f"`{text}`" if text else "none"


def _values(config: dict[str, Any]) -> list[tuple[str, Any]]:
    """What decides the weights beside the data and the architecture, without what says how something works that is off."""
    recipe = config["recipe"]
    idle = {part for whole, parts in PARTS_OF.items() if not recipe.get(whole) for part in parts}
    hidden = idle | config["architecture"].keys()
    return [(name, value) for name, value in recipe.items() if value is not None and name not in hidden]


def beside_plan(forecast: dict[str, Any], run: dict[str, Any]) -> str:
    """The actual figures of a run beside the predicted ones."""
    text = f"took {counted(run['steps'], 'step')} in {duration(run['seconds'])}"
    planned = f"planned: at most {forecast['steps']:,} in {duration(forecast['seconds'])}"
    if run.get("memory") is not None and forecast["memory"] is not None:
        text, planned = f"{text}, {run['memory'] / 1e9:.1f} GB", f"{planned}, {forecast['memory'] / 1e9:.1f} GB"
    return f"{text} ({planned})"
