"""How long start-up takes: `dragoman --help` (to stay under 0.5 s) and `import dragoman` (under 0.2 s).

    python benchmarks/start_up.py

Prints the median and the fastest of 20 fresh processes each, the interpreter's own start included.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

RUNS = 20
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import dragoman": ["-c", "import dragoman"],
    "dragoman --version": ["-m", "dragoman", "--version"],
    "dragoman --help": ["-m", "dragoman", "--help"],
    "dragoman train --help": ["-m", "dragoman", "train", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one fresh interpreter."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"Python {sys.version.split()[0]}, {RUNS} runs each, seconds")
    for name, arguments in COMMANDS.items():
        times = [seconds(arguments) for _ in range(RUNS)]
        print(f"{name:24} median {statistics.median(times):.3f}  fastest {min(times):.3f}")


if __name__ == "__main__":
    main()
