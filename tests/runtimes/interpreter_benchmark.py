"""Measures with LiteRT's interpreter and prints as benchmark_model does, for machines that have none.

No benchmark_model can be had from a package index, so the tests of what surrounds it run this one: times, memory and
errors are real, by the interpreter of the ai-edge-litert package; the words are those of the logs in `logs`.
`python interpreter_benchmark.py classic|litert|old …`: as TensorFlow's tool, as LiteRT's, and as one of old that
knows neither `--num_threads` nor `--help`.
"""

from __future__ import annotations

import resource
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEFAULTS = {
    "graph": "",
    "num_runs": "50",
    "min_secs": "1",
    "max_secs": "150",
    "warmup_runs": "1",
    "warmup_min_secs": "0.5",
    "num_threads": "-1",
}
OWN = {
    "classic": {"use_xnnpack": "false"},
    "litert": {"result_file_path": "", "model_runtime_info_output_file": ""},
    "old": {},
}


def main(kind: str, argv: Sequence[str]) -> int:
    """Do what the flags say."""
    flags = {**DEFAULTS, **OWN[kind]}
    if kind == "old":
        del flags["num_threads"]
    say("STARTING!")
    given = dict(word.removeprefix("--").partition("=")[::2] for word in argv)
    if "help" in given and kind != "old":
        usage = "".join(f"\t--{name}={value}\tstring\toptional\t\n" for name, value in flags.items())
        sys.stderr.write(f"ERROR: usage: benchmark_model <flags>\nFlags:\n{usage}\n")
        return 1
    if unknown := " ".join(word for word in argv if word.removeprefix("--").partition("=")[0] not in flags):
        sys.stdout.write(f"WARN: Unconsumed cmdline flags: {unknown}\n")
    flags.update({name: value for name, value in given.items() if name in flags})
    say(f"Graph: [{flags['graph']}]")
    if not flags["graph"]:
        sys.stderr.write("ERROR: Please specify the name of your TF Lite input file with --graph\n")
        return 1
    try:
        measure(kind, flags)
    except (ValueError, RuntimeError) as error:
        for line in [*str(error).splitlines(), "Failed to initialize the interpreter", "Benchmarking failed."]:
            sys.stderr.write(f"ERROR: {line}\n")
        return 1
    return 0


def say(words: str) -> None:
    """Write a line at once, as the tool does."""
    sys.stdout.write(f"INFO: {words}\n")
    sys.stdout.flush()


def measure(kind: str, flags: dict[str, str]) -> None:
    """Load, warm up, run, and say how long it took."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    resolver = plain if flags.get("use_xnnpack") == "false" else OpResolverType.AUTO
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter_ns()
    interpreter = Interpreter(
        model_path=flags["graph"], num_threads=int(flags["num_threads"]), experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    load_us = (time.perf_counter_ns() - begun) // 1000
    parts = sum(each["op_name"] == "DELEGATE" for each in interpreter._get_ops_details())
    if kind == "classic":
        how = {0: "not be", 1: "be completely"}.get(parts, "be partially")
        more = f" w/ {parts} delegate kernels" if parts > 1 else ""
        say(f"Explicitly applied XNNPACK delegate, and the model graph will {how} executed by the delegate{more}.")
    say(f"Initialized session in {load_us / 1e3:g}ms.")
    warmup = phase(interpreter, int(flags["warmup_runs"]), float(flags["warmup_min_secs"]), float(flags["max_secs"]))
    runs = phase(interpreter, int(flags["num_runs"]), float(flags["min_secs"]), float(flags["max_secs"]))
    added_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    if kind == "litert":
        write_files(flags, load_us, warmup, runs, added_kb, parts)
    else:
        say(f"Memory footprint delta from the start of the tool (MB): init=1 overall={added_kb / 1024:g}")


def phase(interpreter: Any, count: int, at_least_s: float, at_most_s: float) -> list[int]:
    """Run one phase and print its line, in µs."""
    taken: list[int] = []
    begun = time.perf_counter()
    while (len(taken) < count or time.perf_counter() - begun < at_least_s) and time.perf_counter() - begun <= at_most_s:
        started = time.perf_counter_ns()
        interpreter.invoke()
        taken.append((time.perf_counter_ns() - started) // 1000)
    if len(set(taken)) == 1:
        say(f"count={len(taken)} curr={taken[-1]}{'(all same)' if len(taken) > 1 else ''}")
    else:
        mean = sum(taken) / len(taken)
        say(
            f"count={len(taken)} first={taken[0]} curr={taken[-1]} min={min(taken)} max={max(taken)} avg={mean:g} std=1"
        )
    return taken


def write_files(
    flags: dict[str, str], load_us: int, warmup: Sequence[int], runs: Sequence[int], added_kb: int, parts: int
) -> None:
    """Write the result file and what delegates took."""
    from ai_edge_litert import model_runtime_info_pb2

    if flags["result_file_path"]:
        times_us = {2: min(runs), 3: max(runs), 8: load_us, 9: warmup[0]}
        Path(flags["result_file_path"]).write_bytes(
            encode(
                {
                    2: encode({number: value / 1e3 for number, value in times_us.items()}),
                    3: encode({2: added_kb}),
                    4: encode({2: len(runs), 3: len(warmup)}),
                }
            )
        )
    if flags["model_runtime_info_output_file"]:
        details = model_runtime_info_pb2.ModelRuntimeDetails()
        graph = details.subgraphs.add()
        for _ in range(parts):
            graph.nodes.add().delegate_node_details.delegate_name = "TfLiteXNNPackDelegate"
        Path(flags["model_runtime_info_output_file"]).write_bytes(details.SerializeToString())


def encode(fields: dict[int, bytes | float | int]) -> bytes:
    """A protobuf message of submessages, floats and integers: protobuf.dev/programming-guides/encoding.

    >>> encode({1: 150}).hex()
    '089601'
    """
    content = b""
    for number, value in fields.items():
        if isinstance(value, bytes):
            content += varint(number << 3 | 2) + varint(len(value)) + value
        elif isinstance(value, float):
            content += varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            content += varint(number << 3) + varint(value)
    return content


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
