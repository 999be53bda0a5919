"""Verdicts with all that CI may be told, and names that try to be more than names."""

from __future__ import annotations

from pathlib import Path

from edgekd.records import Budget, Check, Finding, Format, Model, Place, Release, Run, Status

SIZE = Budget(metric="file_size", limit="100 kB")
LATENCY = Budget(metric="latency", statistic="p90", limit="10 ms", target="pi")
DROP = Budget(metric="accuracy_drop", limit="1 pt")
PARITY = Budget(metric="parity", limit="99 %", format="onnx")
PLACES = {SIZE: Place(file="budgets.toml", line=1), LATENCY: Place(file="budgets.toml", line=5)}
# Each would do something if it were taken for more than text.
EVIL = (
    "a|b.tflite",
    "<script>alert(1)</script>.onnx",
    "x\n::error::pwned.tflite",
    "`code` **bold** [link](http://evil.example).onnx",
    "@octocat www.evil.example #1.tflite",
    'quote".and\\slash.tflite',
    "tab\tescape\x1b[31m.onnx",
    "half\udcff.onnx",
    "]]>&amp;{{ }}${{ secrets.X }}%0A::error::.onnx",
    "--><!-- \N{RIGHT-TO-LEFT OVERRIDE}.onnx",
)


def check(
    status: Status, budget: Budget = SIZE, model: str = "student.fp32.onnx", target: str = "file", reason: str = ""
) -> Check:
    unit, limit, observed = {
        "file_size": ("B", 1e5, 98_496.0),
        "latency": ("s", 1e-2, 9.5e-3),
        "accuracy_drop": ("1", 1e-2, 1.2e-2),
        "parity": ("1", 0.99, 0.995),
    }[budget.metric]
    known = status != "unmeasured"
    return Check(
        budget=budget,
        model=model,
        target=target,
        unit=unit,
        limit=limit,
        observed=observed if known else None,
        low=(observed if budget is SIZE else observed * 0.9) if known else None,
        high=(observed if budget is SIZE else observed * 1.1) if known else None,
        status=status,
        reason=reason or f"because of {status}",
    )


def release_of(*checks: Check) -> Release:
    return Release(model_sha256s=(), checks=checks)


def run_of(*names: str, findings: tuple[Finding, ...] = ()) -> Run:
    models = tuple(
        Model(
            name=name,
            path=Path("runs/digits/export") / name,
            format=_format(name),
            precision="fp32",
            role="student",
            sha256="",
            size_bytes=1,
        )
        for name in names
    )
    return Run(name="digits", folder=Path("runs/digits"), recipe="", models=models, findings=findings)


def _format(name: str) -> Format:
    return "onnx" if name.endswith(".onnx") else "tflite"


MIXED = release_of(
    check("pass"),
    check("inconclusive", LATENCY, target="pi", reason="about 40 more runs would decide"),
    check("fail", DROP, target="host"),
    check("unmeasured", PARITY, model="", target="", reason="no parity of a student onnx file"),
    check("fail", DROP, target="host", reason="drop from the second teacher"),
)
EVIL_RELEASE = release_of(*(check("fail", SIZE, name, name, f"it is {name}") for name in EVIL))
