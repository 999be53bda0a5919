"""Measures with LiteRT's interpreter and prints as benchmark_model does, for machines that have none.

No benchmark_model can be had from a package index, so the tests of what surrounds it run this one: times, memory and
errors are real, by the interpreter of the ai-edge-litert package; the words are those of the logs in `logs`.
`python interpreter_benchmark.py classic|year_2020|litert|old …`: as TensorFlow's tool, as that of 2020, which writes no
outputs, as LiteRT's, and as one of old that knows neither `--num_threads` nor `--help`.

How inputs are taken and outputs and operators are written is what the published sources do: TensorFlow's
tensorflow/lite/tools/benchmark/benchmark_tflite_model.cc (PopulateInputLayerInfo, SplitInputLayerNameAndValueFile,
LoadInputTensorData, Init, OutputSaver), tensorflow/lite/profiling/profile_summarizer.cc and
tensorflow/core/util/stats_calculator.cc. Times of operators are LiteRT's own.
"""

from __future__ import annotations

import os
import re
import resource
import struct
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.runner import CompiledLiteRT

DEFAULTS = {
    "graph": "",
    "num_runs": "50",
    "min_secs": "1",
    "max_secs": "150",
    "warmup_runs": "1",
    "warmup_min_secs": "0.5",
    "num_threads": "-1",
}
TAKES = {"input_layer": "", "input_layer_shape": "", "input_layer_value_files": ""}
PROFILES = {"enable_op_profiling": "false", "profiling_output_csv_file": ""}
OWN = {
    "classic": {
        "use_xnnpack": "false",
        **TAKES,
        "output_filepath": "",
        **PROFILES,
        "op_profiling_output_mode": "stdout",
        "op_profiling_output_file": "",
    },
    "year_2020": {"use_xnnpack": "false", **TAKES, **PROFILES},
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


def abort(words: str) -> None:
    """End as the tool does at what it calls fatal."""
    sys.stderr.write(f"FATAL: {words}\n")
    sys.stderr.flush()
    sys.stdout.flush()
    os.abort()


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
    fill = take_inputs(interpreter, flags)
    interpreter.allocate_tensors()
    load_us = (time.perf_counter_ns() - begun) // 1000
    parts = sum(each["op_name"] == "DELEGATE" for each in interpreter._get_ops_details())
    if kind in ("classic", "year_2020"):
        how = {0: "not be", 1: "be completely"}.get(parts, "be partially")
        more = f" w/ {parts} delegate kernels" if parts > 1 else ""
        say(f"Explicitly applied XNNPACK delegate, and the model graph will {how} executed by the delegate{more}.")
    say(f"Initialized session in {load_us / 1e3:g}ms.")
    fill()
    warmup = phase(interpreter, int(flags["warmup_runs"]), float(flags["warmup_min_secs"]), float(flags["max_secs"]))
    runs = phase(interpreter, int(flags["num_runs"]), float(flags["min_secs"]), float(flags["max_secs"]))
    added_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    if kind == "litert":
        write_files(flags, load_us, warmup, runs, added_kb, parts)
    else:
        say(f"Memory footprint delta from the start of the tool (MB): init=1 overall={added_kb / 1024:g}")
    if flags.get("output_filepath"):
        tensors = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
        Path(flags["output_filepath"]).write_bytes(b"".join(each.tobytes() for each in tensors))
    if flags.get("enable_op_profiling") == "true":
        file = flags["profiling_output_csv_file"] or flags["op_profiling_output_file"]
        Path(file).write_text(operators_of(flags, len(runs), starts=kind == "year_2020"), encoding="utf-8")


def read_inputs(flags: dict[str, str]) -> list[tuple[str, list[int], str]]:
    """Names, shapes and files that the flags of inputs give."""
    names, shapes, items = (
        [each for each in flags.get(flag, "").split(separator) if each]
        for flag, separator in (("input_layer", ","), ("input_layer_shape", ":"), ("input_layer_value_files", ","))
    )
    if len(names) != len(shapes):
        raise ValueError("The number of items in --input_layer_shape must match the number of items in --input_layer")
    files: dict[str, str] = {}
    for item in items:
        parts = re.split(r"(?<!:):(?!:)", item)
        if len(parts) != 2:
            raise ValueError(f"Wrong input value file item specified: {item}")
        name, file = (each.replace("::", ":") for each in parts)
        if name not in names:
            abort(f"Cannot find the corresponding input_layer name({name}) in --input_layer as {','.join(names)}")
        files[name] = file
    sizes = [[int(size) for size in shape.split(",")] for shape in shapes]
    return [(name, shape, files.get(name, "")) for name, shape in zip(names, sizes, strict=True)]


def take_inputs(interpreter: Any, flags: dict[str, str]) -> Callable[[], None]:
    """Resize the inputs to what the flags say, and give what fills them once they are there."""
    given, details = read_inputs(flags), interpreter.get_input_details()
    if given and len(given) != len(details):
        abort(f"Inputs mismatch: Model inputs #:{len(given)} expected: {len(details)}")
    for (name, shape, _), detail in zip(given, details, strict=False):
        if name != detail["name"]:
            sys.stdout.write(f"WARN: Tensor # {detail['index']} is named {detail['name']} but flags call it {name}\n")
        if len(shape) != len(detail["shape"]):
            raise ValueError(f"Input tensor #{detail['index']} should have {len(detail['shape'])} dimensions!")
        interpreter.resize_tensor_input(detail["index"], shape)

    def fill() -> None:
        for (_, _, file), detail in zip(given, details, strict=False):
            if file:
                interpreter.set_tensor(detail["index"], load(file, interpreter.get_tensor(detail["index"])))

    return fill


def load(file: str, tensor: Any) -> Any:
    """Read a file of the very bytes of a tensor."""
    if not Path(file).is_file():
        abort(f"Failed to read the input_layer_value_file:{file}")
    content = Path(file).read_bytes()
    if len(content) != tensor.nbytes:
        abort(f"The size of {file} is {len(content)} bytes. It should be {tensor.nbytes} bytes.")
    return np.frombuffer(content, tensor.dtype).reshape(tensor.shape)


def operators_of(flags: dict[str, str], runs: int, *, starts: bool) -> str:
    """What operators take, by LiteRT, as the tool's CSV with all its tables."""
    compiled = CompiledLiteRT(version("ai-edge-litert"), flags["graph"], int(flags["num_threads"]), [])
    taken: dict[str, tuple[str, list[int]]] = {}
    for _ in range(runs):
        for operator, place, ns in compiled.profile():
            name = f"[tensors, of {place}]:{place}"
            if isinstance(place, str):
                name = f"Delegate/{operator}:{place.rpartition('.')[2]}"
            taken.setdefault(name, (operator, []))[1].append(ns // 1000)
    total = sum(sum(times) for _, times in taken.values()) or 1
    rows, sum_us = [], 0
    for name, (operator, times) in taken.items():
        start = f"{sum_us / 1000:g}, " if starts else ""
        sum_us += sum(times)
        shares = f"{100 * sum(times) / total:g}%, {100 * sum_us / total:g}%"
        mean = sum(times) / len(times) / 1000
        written = name if starts else name.replace(",", "\t")
        rows.append(f"{operator}, {start}{times[0] / 1000:g}, {mean:g}, {shares}, 0, {len(times) // runs}, {written}")
    header = f"node type, {'start, ' if starts else ''}first, avg_ms, %, cdf%, mem KB, times called, name"
    loading = f"AllocateTensors, {'0, ' if starts else ''}0.029, 0.029, 100%, 100%, 0, 1, AllocateTensors/0"
    bar = "=" * 30
    tables = {
        "Profiling Info for Benchmark Initialization:": [loading],
        "Operator-wise Profiling Info for Regular Benchmark Runs:": rows,
    }
    content = ""
    for title, lines in tables.items():
        content += f"{title}\n"
        for order in ("Run Order", "Top by Computation Time"):
            content += "\n".join([f"{bar} {order} {bar}", header, *lines]) + "\n\n"
    return content


def phase(interpreter: Any, count: int, at_least_s: float, at_most_s: float) -> list[int]:
    """Run one phase and print its line, in µs."""
    taken: list[int] = []
    begun = time.perf_counter()
    while (len(taken) < count or time.perf_counter() - begun < at_least_s) and time.perf_counter() - begun <= at_most_s:
        started = time.perf_counter_ns()
        interpreter.invoke()
        taken.append((time.perf_counter_ns() - started) // 1000)
    if not taken:
        say("count=0")
    elif len(set(taken)) == 1:
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
