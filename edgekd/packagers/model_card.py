"""Model card: a README in the Hugging Face format, with figures, data, teachers, licence and limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgekd import store
from edgekd.packagers._checks import check_format
from edgekd.packagers._templates import render
from edgekd.packagers._text import length_of, tokenizer_of
from edgekd.records import Cargo, TensorSpec

FORMATS = ("tflite", "onnx")
SUITS = "all"

_TAGS = {
    "image": "image-classification",
    "audio": "audio-classification",
    "text": "text-classification",
    "features": "tabular-classification",
}
# Of what has no classes.
_TASKS = {"next_token": "text-generation"}


def pack(*, cargo: Cargo, folder: Path) -> tuple[Path, ...]:
    """Write `README.md`: front matter that the Hugging Face hub reads, and what people want to know before they use it.

    The format is the hub's `modelcard.md` (https://huggingface.co/docs/hub/model-cards); what nobody stated is
    called so, and not left out.

    Args:
        cargo: Of any file.
        folder: Made when missing.

    Returns:
        The file.
    """
    check_format(cargo, "model_card", FORMATS)
    model = cargo.model
    text = render(
        "model_card.md",
        cargo=cargo,
        front=_front_matter(cargo),
        ends=[*(_row("input", each) for each in model.inputs), *(_row("output", each) for each in model.outputs)],
        normalization=_normalization(cargo),
        tokens=_tokens(cargo),
    )
    path = folder / "README.md"
    store.write_bytes(path, text.encode())
    return (path,)


def _front_matter(cargo: Cargo) -> str:
    """YAML, whose values are JSON, which is YAML too."""
    task = _TAGS[cargo.content] if cargo.task in ("single_label", "multi_label") else _TASKS.get(cargo.task)
    known: dict[str, Any] = {
        "license": cargo.licence.lower(),
        "library_name": cargo.model.format,
        "pipeline_tag": task,
        "tags": ["edgekd", cargo.model.format, cargo.model.precision, *(["distillation"] if cargo.teachers else [])],
        "model-index": _results(cargo, task),
    }
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in known.items() if value)


def _results(cargo: Cargo, task: str | None) -> list[dict[str, Any]]:
    metrics = [
        {"type": each.name, "value": each.number, "name": f"{each.name} on {each.target}" if each.target else each.name}
        for each in cargo.figures
        if each.number is not None and each.basis == "measured"
    ]
    if not (task and cargo.dataset and metrics):
        return []
    dataset = {"name": cargo.dataset, "type": cargo.dataset}
    return [{"name": cargo.name, "results": [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]}]


def _row(end: str, spec: TensorSpec) -> dict[str, str]:
    return {
        "end": end,
        "shape": ", ".join("any" if size is None else str(size) for size in spec.shape),
        "dtype": spec.dtype,
        "scale": "" if spec.scale is None else f"{spec.scale:.9g}",
        "zero_point": "" if spec.scale is None else str(spec.zero_point or 0),
    }


def _normalization(cargo: Cargo) -> str:
    if cargo.content == "text":
        return "none: tokens go in"
    if set(cargo.raw_mean) == {0.0} and set(cargo.raw_std) == {1.0}:
        return "none: raw values go in"
    mean, std = (", ".join(f"{each:.6g}" for each in numbers) for numbers in (cargo.raw_mean, cargo.raw_std))
    return f"(x - {mean}) / {std}" if len(cargo.raw_mean) == 1 else f"(x - ({mean})) / ({std}), for each channel"


def _tokens(cargo: Cargo) -> str:
    """What makes tokens of texts, in a sentence; empty where inputs are none."""
    if cargo.tokens is None:
        return ""
    length, pad = length_of(cargo), cargo.tokens.pad
    filled = "" if length is None else f", {length} of them" + ("" if pad is None else f", filled up with {pad}")
    kind = tokenizer_of(cargo)["model"].get("type", "one kind") if cargo.tokens.tokenizer else None
    made = f"tokenizer.json ({kind}) makes them of a text" if kind else "what makes them of a text is not known"
    return f"{cargo.tokens.vocabulary:,} tokens{filled}; {made}"
