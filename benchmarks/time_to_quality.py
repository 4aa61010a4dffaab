"""How long training takes until it is as good as JoeyNMT is after M minutes, on the same pairs and the same threads.

    python benchmarks/time_to_quality.py --joeynmt PYTHON --data FILE [--minutes 30] [--threads 2] [--ours 8]

FILE has a pair per line, such as eng-fra.txt.gz of manythings.org (Tatoeba). 500 sources with all their targets are split off as dev,
as `dragoman train` does it. Both toolkits are trained on the rest.

- JoeyNMT (`PYTHON` is an interpreter that has it; train_peer.py says how to install it) has the recurrent settings of its
  configs/iwslt_deen_bahdanau.yaml: LSTMs of 256, a bidirectional encoder, Luong attention, input feeding, Adam at 0.001, 64 sentences
  a batch. The vocabulary is joint, of 8,000 tokens (sentencepiece), and the text is cased. The learning rate stays constant: the
  config halves it when dev gets worse, but with an argument that PyTorch no longer accepts. Its minutes begin with its first epoch;
  reading and tokenising are not counted.
- Ours is `dragoman train` with no option but the time. Its minutes begin with the first line that is read, so they include the
  tokeniser, the plan and the evaluations.

The same function scores both, on greedy translations of all dev sources as plain text: cased BLEU (sacrebleu) with all references.
Ours is planned to end after `--ours` minutes. The score at its end counts like any other.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dragoman
from dragoman import TrainOptions
from dragoman.config import ReadOptions
from dragoman.corpus.reading import read_pairs
from dragoman.corpus.splitting import HeldOut, split
from dragoman.corpus.store import PairStore
from dragoman.errors import counted
from dragoman.evaluation.metrics import score
from dragoman.training.events import Evaluated, Event
from dragoman.training.preparation import Part

DEV_SOURCES = 500
LEARN_PIECES = """
import sentencepiece, sys
folder, prefix = sys.argv[1:]
sentencepiece.SentencePieceTrainer.train(
    input=[f"{folder}/train.source", f"{folder}/train.target"], model_prefix=prefix, vocab_size=8000, character_coverage=1.0,
    model_type="unigram", minloglevel=2,
)
pieces = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
with open(f"{prefix}.txt", "w", encoding="utf-8") as file:
    file.writelines(f"{pieces.id_to_piece(i)}\\n" for i in range(3, pieces.get_piece_size()))
"""
SIDE = """
  {side}:
    lang: {name}
    level: bpe
    max_length: 62
    voc_file: {folder}/pieces.txt
    tokenizer_type: sentencepiece
    tokenizer_cfg: {{model_file: {folder}/pieces.model, pretokenizer: none}}
"""
CONFIG = """
name: time_to_quality
joeynmt_version: "2.3.0"
model_dir: {folder}/joeynmt
use_cuda: false
data:
  train: {folder}/train
  dev: {folder}/dev
  dataset_type: plain
{source}{target}
testing: {{batch_size: 64, batch_type: sentence, beam_size: 1, eval_metrics: [bleu], max_output_length: 100}}
training:
  optimizer: adam
  learning_rate: 0.001
  learning_rate_min: 0.00005
  scheduling: exponential
  decrease_factor: 1.0
  batch_size: 64
  batch_type: sentence
  early_stopping_metric: ppl
  epochs: 100
  validation_freq: {every}
  logging_freq: {every}
  keep_best_ckpts: 1
model:
  encoder:
    type: recurrent
    rnn_type: lstm
    embeddings: {{embedding_dim: 256}}
    hidden_size: 256
    bidirectional: true
    num_layers: 1
  decoder:
    type: recurrent
    rnn_type: lstm
    embeddings: {{embedding_dim: 256}}
    hidden_size: 256
    dropout: 0.2
    hidden_dropout: 0.2
    num_layers: 1
    input_feeding: true
    init_hidden: last
    attention: luong
"""


def write_parts(data: Path, folder: Path) -> Part:
    """The training and the dev part, as a TSV for us and as two aligned files for JoeyNMT; returns dev."""
    store = PairStore.write(folder / "pairs.arrow", read_pairs([data], ReadOptions()))
    parts = split(store.keys(), seed=1, dev=HeldOut(sources=DEV_SOURCES))
    train, dev = store.select(parts.train), Part.of(store.select(parts.dev))
    for name, pairs in (("train", train), ("dev", dev.pairs())):
        (folder / f"{name}.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in pairs), encoding="utf-8")
    first = zip(dev.sources, (references[0] for references in dev.references), strict=True)
    for name, plain in (("train", list(train)), ("dev", list(first))):
        for side, texts in (("source", (s for s, _ in plain)), ("target", (t for _, t in plain))):
            (folder / f"{name}.{side}").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    print(
        f"{len(train):,} pairs to train on, {len(dev.sources)} dev sources with {sum(map(len, dev.references))} references"
    )
    return dev


def bleu(outputs: list[str], dev: Part) -> float:
    """What both are judged by."""
    return float(score(outputs, dev.references, writing="spaced", metrics=["bleu"], primary="bleu").primary_value)


def joeynmt(python: str, folder: Path, minutes: float, threads: int, every: int) -> Iterator[tuple[float, Path]]:
    """Train JoeyNMT; gives minutes and outputs for each of its evaluations."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    subprocess.run([python, "-c", LEARN_PIECES, str(folder), str(folder / "pieces")], check=True, env=environment)
    sides = {
        key: SIDE.format(side=side, name=key, folder=folder) for key, side in (("source", "src"), ("target", "trg"))
    }
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, every=every, **sides), encoding="utf-8")
    command = [python, "-m", "joeynmt", "train", str(folder / "config.yaml"), "--skip-test"]
    model, log = folder / "joeynmt", folder / "joeynmt.log"
    seen, began = set[Path](), 0.0
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if not began and "EPOCH 1" in log.read_text(encoding="utf-8"):
                    began = time.monotonic()
                passed = (time.monotonic() - began) / 60 if began else 0.0
                for file in sorted(set(model.glob("*.hyps")) - seen, key=lambda file: int(file.stem)):
                    seen.add(file)
                    time.sleep(0.2)  # until it is written
                    yield passed, file
                if passed > minutes:
                    return
        finally:
            process.terminate()  # an interrupt is not heard by what a shell started in the background
            process.wait()
    raise SystemExit(f"JoeyNMT ended by itself: {log.read_text(encoding='utf-8')[-2000:]}")


def ours(folder: Path, minutes: float, threads: int) -> list[tuple[float, float]]:
    """Train; minutes and BLEU of each evaluation."""
    found: list[tuple[float, float]] = []
    began = time.monotonic()

    def listen(event: Event) -> None:
        if isinstance(event, Evaluated):
            found.append(((time.monotonic() - began) / 60, event.score))
            print(f"  ours: {event.score:5.2f} BLEU after {found[-1][0]:.2f} minutes (step {event.step:,})", flush=True)

    # What is over when the last step is done is scoring with a beam and export: no part of getting there.
    options = TrainOptions(max_minutes=minutes, threads=threads, seed=1, dev=(str(folder / "dev.tsv"),), device="cpu")
    dragoman.train(folder / "train.tsv", out=folder / "ours", options=options, listener=listen)
    return found


def main() -> None:
    """Train both and print the minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--joeynmt", required=True, metavar="PYTHON", help="interpreter of an environment that has JoeyNMT"
    )
    parser.add_argument("--data", required=True, type=Path, help="file with one pair per line, separated by TAB")
    parser.add_argument("--minutes", type=float, default=30, help="minutes that JoeyNMT trains (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of both (default: %(default)s)")
    parser.add_argument(
        "--ours",
        type=float,
        default=8,
        metavar="MINUTES",
        help="minutes that ours is planned for (default: %(default)s)",
    )
    parser.add_argument("--every", type=int, default=500, help="JoeyNMT's updates between two evaluations")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dev = write_parts(arguments.data, folder)
        best, when = 0.0, 0.0
        for minutes, file in joeynmt(arguments.joeynmt, folder, arguments.minutes, arguments.threads, arguments.every):
            value = bleu(file.read_text(encoding="utf-8").splitlines(), dev)
            print(f"  JoeyNMT: {value:5.2f} BLEU after {minutes:.2f} minutes (step {int(file.stem):,})", flush=True)
            if value > best:
                best, when = value, minutes
        if not best:
            raise SystemExit(
                "JoeyNMT was not evaluated in that time, or has nothing right: give more minutes, or a smaller --every"
            )
        found = ours(folder, arguments.ours, arguments.threads)
    reached = next((minutes for minutes, value in found if value >= best), None)
    print(
        f"{counted(arguments.threads, 'thread')}; JoeyNMT's best in {arguments.minutes:g} minutes: {best:.2f} BLEU, after {when:.1f}"
    )
    told = "does not reach that" if reached is None else f"reaches that after {reached:.1f}"
    print(f"ours {told}; its best in {found[-1][0]:.1f} minutes: {max(value for _, value in found):.2f} BLEU")


if __name__ == "__main__":
    main()
