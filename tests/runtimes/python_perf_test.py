"""Measures with ONNX Runtime from Python and prints as onnxruntime_perf_test does, for machines that have none.

No onnxruntime_perf_test can be had from a package index, so the tests of what surrounds it run this one: times and
errors are real, by the onnxruntime package; flags, words and files are those of its published source.
`python python_perf_test.py getopt|abseil …`: as of ONNX Runtime 1.21, and as newer ones.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

# Name, and what it says for one that takes a value.
FLAGS = {"m": "test_mode", "I": "", "r": "repeated_times", "S": "seed", "x": "intra_op_num_threads", "D": ""}


class RunError(Exception):
    """An inference failed."""


def main(kind: str, argv: Sequence[str]) -> int:
    """Do what the flags say."""
    given: dict[str, str] = {}
    words = list(argv)
    files: list[str] = []
    while words:
        word = words.pop(0)
        name = word.lstrip("-")
        if word == "--help" or (word.startswith("-") and name not in FLAGS):
            return refuse(kind, name)
        if not word.startswith("-"):
            files.append(word)
        else:
            given[name] = words.pop(0) if FLAGS[name] else ""
    if len(files) != 2 or "I" not in given:
        return refuse(kind, "help")
    try:
        measure(kind, Path(files[0]), Path(files[1]), int(given["r"]), int(given["x"]))
    except RunError as error:
        sys.stdout.write(f"Run failed:PerformanceRunner::RunOneIteration caught exception: {error}\n")
        return 255
    except Exception as error:  # noqa: BLE001 - as the tool's main
        sys.stderr.write(f"{error}\n")
        return 255
    return 0


def refuse(kind: str, name: str) -> int:
    """Print what both parsers print for `--help` and for flags that they don't know."""
    if kind == "abseil" and name != "help":
        sys.stderr.write(f"ERROR: Unknown command line flag '{name}'\n")
        return 1
    usage = "perf_test [options...] model_path [result_file]\n"
    if kind == "getopt":
        sys.stderr.write(f"onnxruntime_perf_test: invalid option -- '{name[:1]}'\n")
        lines = (f"\t-{flag} [{value}]: …\n" if value else f"\t-{flag}: …\n" for flag, value in FLAGS.items())
        sys.stdout.write(f"{usage}Options:\n{''.join(lines)}")
        return 255
    lines = (f"    --{flag} (… of its\n      threads); default: 0;\n" for flag in FLAGS)
    sys.stdout.write(
        f"onnxruntime_perf_test: onnxruntime_{usage}\nOptions:\n\n  Flags from parser.cc:\n{''.join(lines)}"
    )
    return 1


def measure(kind: str, model: Path, result: Path, runs: int, threads: int) -> None:
    """Load, run, and say how long it took."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    sys.stdout.write(f"Setting intra_op_num_threads to {threads}\nDisabling intra-op thread spinning entirely\n")
    sys.stdout.flush()
    begun = time.perf_counter()
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    load_s = time.perf_counter() - begun
    random = np.random.default_rng(0)
    feed = {
        each.name: random.random([dim if isinstance(dim, int) else 1 for dim in each.shape], dtype=np.float32)
        for each in session.get_inputs()
    }
    times_s = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        try:
            session.run(None, feed)
        except Exception as error:
            raise RunError(str(error)) from error
        times_s.append(time.perf_counter() - begun)
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(
        f"Session creation time cost: {load_s:g} s\nFirst inference time cost: {int(1000 * times_s[0])} ms\n"
        f"Total inference requests: {runs}\nPeak working set size: {memory} bytes\n"
    )
    name = model.resolve().parent.name
    with result.open("a", encoding="utf-8") as file:
        for index, each in enumerate(times_s[1:]):
            taken = f"{each / 2:g},{each:g}" if kind == "abseil" else f"{each:g}"
            file.write(f"{name},{taken},{memory},-1,{index}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
