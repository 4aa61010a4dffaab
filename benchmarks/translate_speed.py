"""How fast a model translates: PyTorch, the float32 graphs and the int8 graphs, beside Transformers in CTranslate2.

    python benchmarks/translate_speed.py [--threads 1] [--rounds 5] [--ctranslate2 OTHER/bin/python] [--device cuda]

All weights are random. Ours: a bidirectional LSTM encoder of two layers (2 x 256 units each, so 512 wide), a decoder of two LSTM
layers of 512 with dot attention, embeddings of 256, tied to an output layer over 8,000 words. Theirs: 3 + 3 layers of 256 and of 512,
and 6 + 6 of 512, feed-forward layers four times as wide, the same vocabulary, int8. Sources have 14 tokens; every output is forced to
14. Every figure includes encoding and excludes tokenisation. CTranslate2 is not one of dragoman's dependencies: `--ctranslate2`
names the interpreter of an environment that has it (`python -m venv OTHER && OTHER/bin/pip install ctranslate2`). Without it only ours
is measured.

Each engine runs in a process of its own, one after the other, `rounds` times over, so that a machine that is busy with something
else slows all of them; figures are medians over the rounds. With one thread CPU seconds are counted, with more
wall seconds. Memory is the process's peak, the interpreter and its libraries included.

With `--device cuda` PyTorch and the graphs run on a GPU (onnxruntime-gpu must be installed): int8 graphs, which are for processors, and
CTranslate2 are left out, the ratios are those of float32, and wall seconds are counted.

With `--model DIR` the start of the command is measured instead: `dragoman translate DIR "..."` in a new process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VOCAB, LENGTH = 8000, 14
OURS = ("torch", "float32", "int8")
THEIRS = {"CT2 int8 3+3 x 256": (3, 256, 4), "CT2 int8 3+3 x 512": (3, 512, 8), "CT2 int8 6+6 x 512": (6, 512, 8)}
SETTINGS = [(1, 1), (1, 5), (64, 1), (64, 5)]
"""Batch and beam."""
SECONDS = 0.4
"""How long each setting is repeated in a round, at least."""
Translate = Callable[[list[list[int]], int], object]


def main() -> None:
    """Measure every engine in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to take the median of (default: %(default)s)")
    parser.add_argument("--ctranslate2", metavar="PYTHON", help="interpreter of an environment that has CTranslate2")
    parser.add_argument("--engines", nargs="*", help="only these")
    parser.add_argument("--model", metavar="DIR", help="measure the start of the command with this model instead")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--worker", nargs=4, metavar=("ENGINE", "FOLDER", "THREADS", "DEVICE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        engine, folder, threads, device = options.worker
        print(json.dumps(work(engine, Path(folder), int(threads), device)))
    elif options.model:
        cold_start(options.model, options.rounds)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """All engines, in turns."""
    on_cpu = options.device == "cpu"
    engines = [*OURS, *(THEIRS if options.ctranslate2 else ())] if on_cpu else list(OURS[:2])
    engines = [engine for engine in engines if not options.engines or engine in options.engines]
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory() as folder:
        write_graphs(Path(folder))
        for _ in range(options.rounds):
            for engine in engines:
                python = sys.executable if engine in OURS else options.ctranslate2
                command = [python, __file__, "--worker", engine, folder, str(options.threads), options.device]
                environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                found[engine].append(json.loads(done.stdout.splitlines()[-1]))
    clock = "CPU" if options.threads == 1 and on_cpu else "wall"
    print(
        f"{options.device}, {options.threads} threads, {clock} time, medians of {options.rounds} rounds, peak memory in MB"
    )
    print("| engine | memory |" + "".join(f" {batch} x beam {beam} |" for batch, beam in SETTINGS))
    print("|---|---|" + "---|" * len(SETTINGS))
    for engine, rounds in found.items():
        cells = [f"{statistics.median(one['memory'] for one in rounds):.0f}"]
        for setting in SETTINGS:
            times = [one[str(setting)] for one in rounds]
            middle, high = (statistics.median(each[name] for each in times) for name in ("median", "p95"))
            rate = setting[0] / middle
            details = f" ({middle * 1e3:.1f} ms, 95 %: {high * 1e3:.1f})" if setting[0] == 1 else ""
            cells.append(f"{rate:.0f}/s, {rate * LENGTH:,.0f} tokens/s{details}")
        print(f"| {engine} | " + " | ".join(cells) + " |")
    for mine in [name for name in ("int8", "float32") if name in found][:1]:
        print_ratios(found, mine)


def print_ratios(found: dict[str, list[dict[str, Any]]], mine: str) -> None:
    """How many times as fast as each other engine one of ours is, by the medians of the rounds."""
    print(f"\n{mine} is so many times as fast as:")
    for engine, rounds in found.items():
        ratios = []
        for setting in SETTINGS:
            other, ours = (
                statistics.median(one[str(setting)]["median"] for one in some) for some in (rounds, found[mine])
            )
            ratios.append(f"{other / ours:.2f}")
        print(f"  {engine}: " + ", ".join(ratios))


def work(engine: str, folder: Path, threads: int, device: str) -> dict[str, Any]:
    """Measure one engine in this process."""
    import random

    ours = engine in OURS
    translate = open_ours(engine, folder, threads, device) if ours else open_theirs(engine, folder, threads)
    clock = time.process_time if threads == 1 and device == "cpu" else time.perf_counter
    draw = random.Random(1)
    result: dict[str, Any] = {}
    for batch, beam in SETTINGS:
        times: list[float] = []
        for turn in range(1000):
            sources = [[draw.randrange(4, VOCAB) for _ in range(LENGTH)] for _ in range(batch)]
            began = clock()
            translate(sources, beam)
            if turn:  # the first call makes ready
                times.append(clock() - began)
            if sum(times) > SECONDS and len(times) >= (20 if batch == 1 else 2):
                break
        times.sort()
        result[str((batch, beam))] = {"median": statistics.median(times), "p95": times[int(0.95 * len(times))]}
    result["memory"] = peak_memory()
    return result


def peak_memory() -> float:
    """Of this process, in MB; what `getrusage` says would include its parent's."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def build_model() -> Any:
    """The model that is measured, in PyTorch; it never says `</s>`."""
    import torch

    from dragoman.generation.stepper import EOS
    from dragoman.model.seq2seq import Seq2Seq

    torch.manual_seed(1)
    model = Seq2Seq(
        source_vocab_size=VOCAB,
        target_vocab_size=VOCAB,
        embedding_size=256,
        hidden_size=512,
        encoder_layers=2,
        decoder_layers=2,
        bidirectional=True,
        attention="dot",
        tie_embeddings="target",
    ).eval()
    with torch.no_grad():
        model.decoder.output.bias[:4] = -100
    assert EOS < 4
    return model


def write_graphs(folder: Path) -> None:
    """The graphs of both precisions."""
    from dragoman.runtime.decoder_graph import decoder_graph
    from dragoman.runtime.encoder_graph import encoder_graph

    model = build_model()
    for precision in ("float32", "int8"):
        (folder / f"encoder.{precision}").write_bytes(encoder_graph(model, precision=precision))
        (folder / f"decoder.{precision}").write_bytes(decoder_graph(model, precision=precision))


def open_ours(engine: str, folder: Path, threads: int, device: str) -> Translate:
    """Our engines; only `torch` loads PyTorch."""
    from dragoman.config import SearchOptions
    from dragoman.generation.search import search
    from dragoman.generation.stepper import Stepper

    stepper: Stepper
    if engine == "torch":
        import torch

        from dragoman.model.stepper import TorchStepper

        torch.set_num_threads(threads)
        stepper = TorchStepper(build_model().to(device))
    else:
        from dragoman.runtime.engine import OnnxStepper

        encoder, decoder = ((folder / f"{side}.{engine}").read_bytes() for side in ("encoder", "decoder"))
        stepper = OnnxStepper(encoder, decoder, threads=threads, device=device)

    def translate(sources: list[list[int]], beam: int) -> None:
        found = search(stepper, sources, options=SearchOptions(beam_size=beam, max_length=LENGTH))
        assert all(len(hypotheses[0].ids) == LENGTH for hypotheses in found)

    return translate


def open_theirs(engine: str, folder: Path, threads: int) -> Translate:
    """A Transformer of random weights in CTranslate2."""
    ctranslate2: Any = importlib.import_module("ctranslate2")  # which is no dependency of ours
    path = folder / engine.replace(" ", "_")
    if not path.exists():
        write_transformer(path, *THEIRS[engine])
    translator = ctranslate2.Translator(
        str(path), device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads
    )

    def translate(sources: list[list[int]], beam: int) -> None:
        texts = [[f"w{number}" for number in ids] for ids in sources]
        found = translator.translate_batch(
            texts, beam_size=beam, min_decoding_length=LENGTH, max_decoding_length=LENGTH, return_end_token=True
        )
        assert all(len(one.hypotheses[0]) == LENGTH for one in found)

    return translate


def write_transformer(path: Path, layers: int, width: int, heads: int) -> None:
    """Weights drawn as a training would start from, quantised as CTranslate2's converters do."""
    import numpy as np

    ctranslate2: Any = importlib.import_module("ctranslate2")
    spec = ctranslate2.specs.TransformerSpec.from_config((layers, layers), heads, pre_norm=True)
    draw = np.random.default_rng(1)

    def weight(*shape: int) -> Any:
        return (draw.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    def fill_linear(linear: Any, outputs: int, inputs: int) -> None:
        linear.weight, linear.bias = weight(outputs, inputs), np.zeros(outputs, np.float32)

    def fill_norm(norm: Any) -> None:
        norm.gamma, norm.beta = np.ones(width, np.float32), np.zeros(width, np.float32)

    def fill_attention(attention: Any, sizes: list[int]) -> None:
        fill_norm(attention.layer_norm)
        for linear, size in zip(attention.linear, sizes, strict=True):
            fill_linear(linear, size * width, width)

    table = weight(VOCAB, width)
    for side in (spec.encoder, spec.decoder):
        embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        embeddings.weight = table
        side.position_encodings.encodings = weight(1024, width)
        fill_norm(side.layer_norm)
        for layer in side.layer:
            fill_attention(layer.self_attention, [3, 1])
            if side is spec.decoder:
                fill_attention(layer.attention, [1, 2, 1])
            fill_norm(layer.ffn.layer_norm)
            fill_linear(layer.ffn.linear_0, 4 * width, width)
            fill_linear(layer.ffn.linear_1, width, 4 * width)
    fill_linear(spec.decoder.projection, VOCAB, width)
    spec.decoder.projection.weight = table
    words = ["<unk>", "<s>", "</s>", *(f"w{number}" for number in range(3, VOCAB))]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.validate()
    spec.optimize(quantization="int8")
    path.mkdir()
    spec.save(str(path))


def cold_start(model: str, rounds: int) -> None:
    """CPU and wall seconds, and memory, of one sentence in a new process."""
    command = [sys.executable, "-m", "dragoman", "translate", model, "Where is the station?", "--threads", "1"]
    rows = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        text = process.stdout.read().strip()
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        rows.append((usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024))
    cpu, wall, memory = (
        statistics.median(column) for column in zip(*rows[1:], strict=True)
    )  # the first fills the cache
    print(f'dragoman translate {model} "...": {cpu:.2f} s of CPU, {wall:.2f} s, {memory:.0f} MB; it said: {text}')


if __name__ == "__main__":
    main()
