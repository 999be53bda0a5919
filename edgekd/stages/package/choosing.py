"""Which packagers suit a model file and its targets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgekd import registry
from edgekd.records import Model, PackagerTerm, Target


@dataclass(frozen=True, kw_only=True)
class Task:
    """One packager with its options.

    Attributes:
        label: The name, with the accelerator, or the target, where the packager is called for several.
        keeps: Of packagers that write model files: `bits` where these give the very outputs, `values` where they are
            computed otherwise; empty where there is nothing to run.
        folder: Below the package's.
    """

    name: str
    label: str
    pack: Callable[..., tuple[Path, ...]]
    keeps: Literal["", "bits", "values"] = ""
    folder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def tasks_of(
    model: Model, targets: Sequence[Target], terms: Sequence[PackagerTerm] | None, *, text: bool = False
) -> list[Task]:
    """Choose the packagers for a file: those that are named and take its format, or those that suit.

    Args:
        model: The file.
        targets: Where it runs.
        terms: Named packagers; `None` takes all that suit.
        text: Whether it is known what makes tokens of texts for it.

    Raises:
        ConfigError: No such packager.
    """
    if terms is None:
        names = registry.names("packagers")
        terms = [PackagerTerm(name=name) for name in names if suits(name, model, targets, text=text)]
    return [task for term in terms if model.format in formats_of(term.name) for task in _tasks(term, targets)]


def suits(name: str, model: Model, targets: Sequence[Target], *, text: bool = False) -> bool:
    """Whether a packager is taken for a file without being named.

    >>> from edgekd.records import TensorSpec
    >>> file = Model(name="m.tflite", path=Path("m.tflite"), format="tflite", precision="fp16", role="student",
    ...              sha256="", size_bytes=1)
    >>> chip = Target(name="chip", description="", runtimes=("tflite_micro",))
    >>> suits("snippets", file, [chip]), suits("c_source", file, [chip]), suits("ort", file, [])
    (True, False, False)
    """
    plug_in = registry.load("packagers", name)
    if model.format not in plug_in.FORMATS or model.precision not in getattr(plug_in, "PRECISIONS", (model.precision,)):
        return False
    # Such as a causal language model, with keys and values.
    if len(model.inputs) > getattr(plug_in, "INPUTS", len(model.inputs)):
        return False
    return {
        "all": True,
        "text": text,
        "microcontroller": any(map(is_microcontroller, targets)),
        "accelerator": any(target.accelerator for target in targets),
    }.get(getattr(plug_in, "SUITS", ""), False)


def is_microcontroller(target: Target) -> bool:
    """Whether a target runs TFLite Micro."""
    return "tflite_micro" in target.runtimes


def formats_of(name: str) -> tuple[str, ...]:
    """Formats that a packager takes; the user's own function may leave that out, and then takes all."""
    module = sys.modules[registry.function("packagers", name).__module__]
    return tuple(getattr(module, "FORMATS", ("tflite", "onnx")))


def _tasks(term: PackagerTerm, targets: Sequence[Target]) -> Iterator[Task]:
    pack = registry.function("packagers", term.name)
    module = sys.modules[pack.__module__]
    keeps: Literal["", "bits", "values"] = getattr(module, "KEEPS", "")
    known = [option.name for option in registry.describe("packagers", term.name).parameters]
    # One flag moves what Vela makes and estimates: another configuration is another file.
    chips: dict[tuple[str | None, ...], Target] = {}
    for target in targets:
        if target.accelerator:
            key = (target.accelerator, target.system_config, target.memory_mode, target.vela_config)
            chips.setdefault(key, target)
    if "accelerator" not in known or "accelerator" in term.options or not chips:
        yield Task(name=term.name, label=term.name, pack=pack, keeps=keeps, options=term.options)
        return
    accelerators = [chip.accelerator for chip in chips.values()]
    for chip in chips.values():
        told = {
            "accelerator": chip.accelerator,
            "system_config": chip.system_config,
            "memory_mode": chip.memory_mode,
            "config": Path(chip.vela_config) if chip.vela_config else None,
        }
        # The target says which of two configurations; an accelerator alone says enough.
        name = chip.name if accelerators.count(chip.accelerator) > 1 else chip.accelerator
        yield Task(
            name=term.name,
            label=f"{term.name} for {name}" if len(chips) > 1 else term.name,
            pack=pack,
            keeps=keeps,
            folder=(name or "") if len(chips) > 1 else "",
            options={**{key: value for key, value in told.items() if key in known}, **term.options},
        )
