"""Reads what benchmark_model says of operators."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

_NS_PER_MS = 1e6
_REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_NUMBER = r"-?(?:nan|[\d.]+(?:e[+-]?\d+)?)"
# Types of operators, and in old versions names, too, have commas of their own.
_ROW = re.compile(
    r"(?P<operator>\S.*?), "
    f"(?:{_NUMBER}, )?{_NUMBER}, "  # start, in some versions, and first
    rf"(?P<mean_ms>[\d.]+(?:e-?\d+)?), {_NUMBER}%, {_NUMBER}%, "
    f"{_NUMBER}, (?P<times>\\d+), (?P<layer>\\S.*)"
)
# What stands for all operators that a delegate took.
_WHOLE = re.compile(r"DELEGATE|\w+Delegate(?:V\d+)?")


def read_operators(log: str) -> list[tuple[str, str, int]]:
    r"""Read the operators of one inference, in the order in which they ran.

    Loading is left out, and so are the bodies of control flow, whose time is that of the operator they belong to. Where
    a delegate tells of its own operators in a table apart, they come last, in place of what stands for all of them.

    Args:
        log: The CSV that a process wrote, whatever is before and after it.

    Returns:
        Type, name and nanoseconds; times of those that run several times are added up.

    >>> header = "==== Run Order ====\nnode type, first, avg_ms, %, cdf%, mem KB, times called, name\n"
    >>> read_operators(header + "Sum (ND, F32), 0.016, 0.0148, 0.8%, 18.4%, 0, 2, Delegate/Sum (ND\t F32):3")
    [('Sum (ND, F32)', 'Delegate/Sum (ND, F32):3', 29600)]
    """
    found = {"main": list[tuple[str, str, int]](), "delegate": list[tuple[str, str, int]]()}
    for graph, row in _rows(log.partition(_REGULAR)[2] or log):
        if graph in found:
            operator, layer = row["operator"], row["layer"].rstrip().replace("\t", ",")
            if named := re.fullmatch(r"Delegate/(.+?)(?::\d+)?", layer if operator == "DelegateOpInvoke" else operator):
                operator = named[1]
            found[graph].append((operator, layer, round(float(row["mean_ms"]) * int(row["times"]) * _NS_PER_MS)))
    if found["delegate"]:
        found["main"] = [each for each in found["main"] if not _WHOLE.fullmatch(each[0])]
    return found["main"] + found["delegate"]


def _rows(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Rows of what ran after what, each with whose it is: the main graph's, another's or a delegate's."""
    graph, title = "main", ""
    for line in text.splitlines():
        if opened := re.match(r"\s*(Primary graph|Subgraph|Delegate internal)\b", line):
            graph = {"Primary graph": "main", "Subgraph": "other", "Delegate internal": "delegate"}[opened[1]]
        elif named := re.fullmatch(r"\s*=+ (.+?) =+\s*", line):
            title = named[1]
        elif title == "Run Order" and (row := _ROW.fullmatch(line)) and row["layer"].startswith(("[", "Delegate/")):
            yield graph, row


def join_operators(inferences: Sequence[Sequence[tuple[str, str, int]]]) -> list[dict[str, Any]]:
    """Put the times of equal operators together, as the runner gives them.

    >>> join_operators([[("ADD", "a", 3), ("ADD", "a", 5)], [("ADD", "a", 4), ("ADD", "a", 6)]])
    [{'layer': 'a', 'operator': 'ADD', 'ns': [3, 4]}, {'layer': 'a', 'operator': 'ADD', 'ns': [5, 6]}]
    """
    joined: dict[tuple[str, str, int], dict[str, Any]] = {}
    for operators in inferences:
        # Where a delegate has several parts, names of its operators may repeat.
        met: Counter[tuple[str, str]] = Counter()
        for operator, layer, ns in operators:
            met[operator, layer] += 1
            first = {"layer": layer, "operator": operator, "ns": list[int]()}
            joined.setdefault((operator, layer, met[operator, layer]), first)["ns"].append(ns)
    return list(joined.values())
