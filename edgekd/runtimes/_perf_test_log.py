"""Reads what onnxruntime_perf_test says: its usage, its log, and the file with every inference."""

from __future__ import annotations

import re
from dataclasses import dataclass

_S, _MS = 1_000_000_000, 1_000_000
# The first inference is told in whole ms, cut off; less than so many say nothing.
_COARSEST_MS = 100


@dataclass(frozen=True, kw_only=True)
class Log:
    """What one process said.

    Attributes:
        load_ns: To make the session.
        first_ns: The first inference, where it took so long that whole milliseconds tell it.
        complaint: What was wrong with the file, if something was.
    """

    load_ns: int | None = None
    first_ns: int | None = None
    complaint: str = ""


def read_flags(usage: str) -> frozenset[str]:
    r"""Find the flags that `--help` lists, by getopt, or by Abseil in newer ones.

    >>> sorted(read_flags("Options:\n\t-m [test_mode]: Specifies …\n\t\tProvide -x\n\t-I: Generate …"))
    ['I', 'm']
    >>> sorted(read_flags("  Flags from command_args_parser.cc:\n    --D (Disables spinning);\n      default: false;"))
    ['D']
    """
    return frozenset(re.findall(r"^(?:\t-| {4}--)(\w+)(?=[ :])", usage, re.MULTILINE))


def read_log(text: str) -> Log:
    r"""Read standard output and error.

    >>> read_log("Session creation time cost: 0.0376238 s\nFirst inference time cost: 134 ms")
    Log(load_ns=37623800, first_ns=134000000, complaint='')
    >>> read_log("Load model from m.onnx failed:Fatal error: mine:Nope(-1) is not a registered function/op").complaint
    'Load model from m.onnx failed:Fatal error: mine:Nope(-1) is not a registered function/op'
    """
    load = re.search(r"^Session creation time cost: ?([\d.e+-]+) s", text, re.MULTILINE)
    first = re.search(r"^First inference time cost: (\d+) ms", text, re.MULTILINE)
    first_ms = int(first[1]) if first else 0
    return Log(
        load_ns=round(float(load[1]) * _S) if load else None,
        first_ns=first_ms * _MS if first_ms >= _COARSEST_MS else None,
        complaint="" if first else _complaint(text),  # told at the end, when all went well
    )


def read_times(content: str) -> list[int]:
    r"""Read every inference from a result file, in ns and in order.

    A line holds a name, the time in s with six digits, the highest memory, the use of the processor and a number. In
    newer ones there may be two times: until the work was handed over, and until it was done, which is taken
    (microsoft/onnxruntime#26313).

    Raises:
        ValueError: It is no such file.

    >>> read_times("m,0.000147814,34410496,-1,0\nm,9.8e-05,34410496,-1,1\n")
    [147814, 98000]
    >>> read_times("m,0.0001,0.0002,34410496,50,0\n")
    [200000]
    """
    times = []
    for number, line in enumerate(content.splitlines()):
        *_, time, memory, usage, run = line.split(",")
        int(memory), int(usage)
        if int(run) != number:
            raise ValueError(f"line {number + 1} is of inference {run}")
        times.append(round(float(time) * _S))
    return times


def _complaint(text: str) -> str:
    """The message that a failed process ended with, without what the logger wrote and without a stack trace."""
    failed = re.search(r"^Run failed:(.+)", text, re.MULTILINE)
    if failed:
        return failed[1].strip()
    said, _, _ = text.partition("\nStacktrace:")
    logged = re.compile(r"(?:\x1b\S*|\S+ \S+ \[\w:onnxruntime|Setting |Disabling |Session creation |.*Schema error)")
    lines = [line.strip() for line in said.splitlines() if line.strip() and not logged.match(line)]
    return lines[-1] if lines else ""
