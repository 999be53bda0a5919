"""Reads what benchmark_model says: its log in both of its formats, and the files that newer ones write."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_US, _MS = 1_000, 1_000_000
# What LiteRT's summary rounds to, in ns.
ROUNDED = _MS // 100
_MIB = 2**20
# Parts of messages, by number: what `--result_file_path` writes, which no package has
# (tensorflow/lite/tools/benchmark/proto/benchmark_result.proto), and what `--model_runtime_info_output_file` writes.
# ai_edge_litert has the latter, but its modules can't be imported in a process that holds tensorflow.
_SCHEMA: Mapping[str, Mapping[int, tuple[str, str]]] = {
    "LatencyMetrics": {
        2: ("min_ms", "FLOAT"),
        3: ("max_ms", "FLOAT"),
        8: ("init_ms", "FLOAT"),
        9: ("first_inference_ms", "FLOAT"),
    },
    "MemoryMetrics": {2: ("overall_footprint_kb", "INT64")},
    "MiscMetrics": {2: ("num_runs", "INT32"), 3: ("num_warmup_runs", "INT32")},
    "BenchmarkResult": {
        2: ("latency_metrics", "LatencyMetrics"),
        3: ("memory_metrics", "MemoryMetrics"),
        4: ("misc_metrics", "MiscMetrics"),
    },
    "DelegateNodeDetails": {1: ("delegate_name", "STRING")},
    "Node": {8: ("delegate_node_details", "DelegateNodeDetails")},
    "RuntimeSubgraph": {3: ("nodes", "repeated Node")},
    "ModelRuntimeDetails": {2: ("subgraphs", "repeated RuntimeSubgraph")},
}


@dataclass(frozen=True, kw_only=True)
class Timings:
    """A summary of inferences, in ns.

    Attributes:
        mean: As rounded by the program; unknown where it comes in a file.
        first: Unknown in the formats that leave it out.
        unit: What the values are rounded to.
    """

    count: int
    smallest: int
    largest: int
    mean: float | None = None
    first: int | None = None
    unit: int = _US

    def samples(self) -> list[int]:
        """Every inference, in order where it is known; nothing where the summary leaves some out.

        >>> Timings(count=2, smallest=115, largest=121, first=121).samples()
        [121, 115]
        >>> Timings(count=50, smallest=111, largest=121).samples()
        []
        """
        if self.count > 2:
            return []
        both = [self.smallest, self.largest] if self.first != self.largest else [self.largest, self.smallest]
        return both[: self.count]


@dataclass(frozen=True, kw_only=True)
class Log:
    """What one process said.

    Attributes:
        load_ns: From the start of loading to an interpreter that is ready.
        first_ns: The first inference, which is the first of the warm-up.
        added_bytes: By how much the process grew at most since its start.
        delegate: As far as the log proves it.
        unknown_flags: That it warned of and ignored.
        complaint: Its first line of error, which names the cause; those after it only gave up.
    """

    load_ns: int | None = None
    first_ns: int | None = None
    warmups: int = 0
    runs: Timings | None = None
    added_bytes: int | None = None
    delegate: str | None = None
    unknown_flags: str = ""
    complaint: str = ""


def read_log(text: str, result: bytes | None = None) -> Log:
    r"""Read a log, and where there is one the result file, which has what LiteRT's log rounds.

    Args:
        text: Standard output and error. Lines in µs come from the part that both tools share; LiteRT's adds a
            summary in ms with two decimals, which is taken where the others are missing.
        result: Content of the file that `--result_file_path` names.

    Raises:
        ValueError: The result file is none.

    >>> log = read_log("Initialized session in 0.53ms.\ncount=1 curr=78\ncount=2 curr=70(all same)")
    >>> log.load_ns, log.runs.samples()
    (530000, [70000, 70000])
    """
    lines = [_stripped(line) for line in text.splitlines()]
    phases = [found for line in lines if (found := _timings(line))]
    warmup = phases[0] if len(phases) > 1 else None
    summary = _read_summary(lines)
    written = _read_result(result) if result else Log()
    load = _find(lines, r"Initialized session in ([\d.e+]+)\s?ms")
    memory = _find(lines, r"(?:from the start of the tool|Peak memory footprint) \(MB\): .*overall=([\d.e+]+)")
    return Log(
        load_ns=round(float(load) * _MS) if load else written.load_ns or summary.load_ns,
        first_ns=warmup.first if warmup else written.first_ns or summary.first_ns,
        warmups=warmup.count if warmup else written.warmups or summary.warmups,
        runs=phases[-1] if phases else written.runs or summary.runs,
        added_bytes=written.added_bytes or (round(float(memory) * _MIB) if memory else summary.added_bytes),
        delegate=_delegate(lines),
        unknown_flags=_find(lines, r"Unconsumed cmdline flags:\s*(.+)") or "",
        complaint=_find(lines, r"^(?:ERROR: |FATAL: )(.+)") or _find(lines, r"^(Failed .+)") or "",
    )


def read_flags(usage: str) -> frozenset[str]:
    r"""Find the flags that `--help` lists.

    >>> sorted(read_flags("Flags:\n\t--num_runs=50\tint32\toptional\t...\n\t--graph=\tstring\t..."))
    ['graph', 'num_runs']
    """
    return frozenset(re.findall(r"^\s*--(\w+)=", usage, re.MULTILINE))


def read_delegate(runtime_info: bytes) -> str:
    """Name the delegate in the file of `--model_runtime_info_output_file`, in the words of the runner.

    Raises:
        ValueError: It is no such file.
    """
    details = _parse("ModelRuntimeDetails", runtime_info)
    nodes = [node for graph in details.subgraphs for node in graph.nodes if node.HasField("delegate_node_details")]
    names = sorted({node.delegate_node_details.delegate_name for node in nodes})
    return _worded(" and ".join(names).replace("TfLiteXNNPackDelegate", "XNNPACK"), len(nodes))


def _stripped(line: str) -> str:
    """A line without the place in the source that LiteRT puts before it."""
    return re.sub(r"^(?:(?:INFO|WARN|WARNING): )?(?:(ERROR: )?\[\S+:\d+\] )?", r"\1", line.strip())


def _find(lines: list[str], pattern: str) -> str | None:
    return next((str(found[1]) for line in lines if (found := re.search(pattern, line))), None)


def _timings(line: str) -> Timings | None:
    """One phase: `count=50 first=… curr=… min=… max=…`, or `count=2 curr=…(all same)`."""
    if not re.match(r"count=[1-9]", line):
        return None
    values = {key: int(value) * _US for key, value in re.findall(r"(first|curr|min|max)=(\d+)", line)}
    last, mean = values["curr"], re.search(r"avg=([\d.e+]+)", line)
    return Timings(
        mean=float(mean[1]) * _US if mean else last,
        count=int(line.removeprefix("count=").split()[0]),
        first=values.get("first", last),
        smallest=values.get("min", last),
        largest=values.get("max", last),
    )


def _read_summary(lines: list[str]) -> Log:
    """LiteRT's own lines, in ms rounded to 0.01."""

    def value(name: str, pattern: str, factor: float) -> int | None:
        found = _find(lines, rf"^{re.escape(name)}:\s+{pattern}")
        return round(float(found) * factor) if found else None

    smallest, largest = (value(f"Inference ({name})", "([\\d.]+) ms", _MS) for name in ("min", "max"))
    count = value("Inference (avg)", r".*\((\d+) runs\)", 1)
    runs = None
    if count and smallest is not None and largest is not None:
        mean = value("Inference (avg)", r"([\d.]+) ms", _MS)
        runs = Timings(count=count, smallest=smallest, largest=largest, mean=mean, unit=ROUNDED)
    return Log(
        load_ns=value("Model initialization", r"([\d.]+) ms", _MS),
        first_ns=value("Warmup (first)", r"([\d.]+) ms", _MS),
        warmups=value("Warmup (avg)", r".*\((\d+) runs\)", 1) or 0,
        runs=runs,
        added_bytes=value("Overall footprint", r"([\d.]+) MB", _MIB),
    )


def _delegate(lines: list[str]) -> str | None:
    """What the classic tool found out when it was told to apply XNNPACK; what is created may take nothing."""
    said = next((line for line in lines if "XNNPACK delegate" in line and "xplicitly applied" in line), "")
    if "completely executed" in said:
        return _worded("XNNPACK", 1)
    if "will not be executed" in said:
        return _worded("XNNPACK", 0)
    parts = re.search(r"w/ (\d+) delegate kernels", said)
    return _worded("XNNPACK", int(parts[1])) if parts else None


def _worded(name: str, parts: int) -> str:
    return {0: "none", 1: name}.get(parts, f"{name} in {parts} parts")


def _read_result(content: bytes) -> Log:
    result = _parse("BenchmarkResult", content)
    latency, misc = result.latency_metrics, result.misc_metrics
    # They were whole microseconds before they became floats of 24 bits.
    load, first, smallest, largest = (
        round(ms * 1000) * _US for ms in (latency.init_ms, latency.first_inference_ms, latency.min_ms, latency.max_ms)
    )
    return Log(
        load_ns=load,
        first_ns=first,
        warmups=misc.num_warmup_runs,
        runs=Timings(count=misc.num_runs, smallest=smallest, largest=largest) if misc.num_runs else None,
        added_bytes=result.memory_metrics.overall_footprint_kb * 1024,
    )


def _parse(name: str, content: bytes) -> Any:
    """Read a message by the schema; protobuf comes with onnx anyway."""
    from google.protobuf.message import DecodeError

    try:
        return _types()[name].FromString(content)
    except DecodeError as error:
        raise ValueError(str(error)) from None


@functools.cache
def _types() -> Mapping[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="benchmark_model.proto", package="edgekd", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in fields.items():
            added = message.field.add(name=field, number=number)
            added.label = types.LABEL_REPEATED if kind.startswith("repeated") else types.LABEL_OPTIONAL
            type_name = kind.removeprefix("repeated ")
            if type_name in _SCHEMA:
                added.type, added.type_name = types.TYPE_MESSAGE, f".edgekd.{type_name}"
            else:
                added.type = types.Type.Value(f"TYPE_{type_name}")
    pool = descriptor_pool.DescriptorPool()  # of its own: types of the same name may be in the common one
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"edgekd.{name}")) for name in _SCHEMA}
