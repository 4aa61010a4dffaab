"""`dragoman info`: what a model is, from its directory alone."""

from __future__ import annotations

import json
from typing import Any

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import table
from dragoman.errors import StorageError, counted, duration


@flags_of_models
def info(model: ModelPath, /, *, as_json: AsJson = False) -> None:
    """Show what a model is: sizes, options, data, scores.

    No weights are loaded.
    """
    from dragoman.places import locate
    from dragoman.storage import CONFIG, ModelDirectory

    directory = ModelDirectory.open(locate(model))
    size = (directory.path if directory.is_bundle else directory.weights).stat().st_size
    if as_json:
        print(json.dumps(directory.config | {"bytes": size}, ensure_ascii=False))
        return
    what = "size of the bundle" if directory.is_bundle else "size of the weights"
    try:
        facts = table([*_facts(directory.config), (what, f"{size / 1e6:,.1f} MB")])
        scores = _scores(directory.config["scores"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{directory.path}: {CONFIG} is damaged: {type(error).__name__}: {error}") from None
    print(facts)
    print()
    print(scores)


def _facts(config: dict[str, Any]) -> list[tuple[str, str]]:
    """What is worth a line each."""
    from dragoman.storage import part_size, sides_of

    data, run, options = config["data"], config["run"], config["options"]
    given = ", ".join(f"{name}={value}" for name, value in options.items())
    rows = [
        ("model", config["name"]),
        ("made by", f"dragoman {config['dragoman_version']}, preset {options.get('preset', 'default')}"),
        ("parameters", f"{config['parameters']:,}"),
        ("architecture", ", ".join(f"{name} {value}" for name, value in config["architecture"].items() if value)),
        *sides_of(config),
        ("normalization", config["normalization"]),
        ("options given", given or "none"),
        ("data", f"{data['read']['name']}, fingerprint {data['fingerprint']}"),
    ]
    rows += [(part, part_size(config, part)) for part in ("train", "dev", "test") if data.get(part)]
    rows.append(("split", data["split"]))
    if run:
        rows.append(
            (
                "training",
                f"{counted(run['steps'], 'step')}, {run['epochs']:.1f} epochs, {duration(run['seconds'])}; ended by: {run['finished']}; weights of step {run['best_step']:,}",
            )
        )
    if config.get("onnx"):
        rows.append(
            (
                "ONNX graphs",
                f"{', '.join(config['onnx']['precisions'])}; {config['onnx']['default']} runs by default",
            )
        )
    if config.get("command"):
        rows.append(("command", config["command"]))
    return rows


def _scores(scores: dict[str, Any]) -> str:
    """The stored scores as a table."""
    rows = [
        (part, name, f"{score[name]:.2f}", f"{counted(score['items'], 'source')}, {score['search']}", signature)
        for part, score in scores.items()
        for name in ("bleu", "chrf", "ter", "exact_match", "cer", "wer")
        if name in score
        for signature in [score.get("signatures", {}).get(name, "")]
    ]
    if not rows:
        return "It has no scores yet."
    return table(rows, header=("part", "metric", "score", "how", "signature"), right=(2,))
