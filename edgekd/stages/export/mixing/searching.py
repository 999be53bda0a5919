"""Searches the assignment of precisions of one format's mixed file."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import child
from edgekd.progress import Progress
from edgekd.records import (
    Format,
    LayerCost,
    MixedFile,
    MixedSearch,
    QuantizationPlan,
    Ranges,
    decode_precision,
)
from edgekd.stages.export.converting import quantize
from edgekd.stages.export.mixing.assigning import Assignment, Option, assign, loss_of, size_of, solve
from edgekd.stages.export.placing import Places
from edgekd.units import human

if TYPE_CHECKING:
    from edgekd.stages.export.mixing import Mixer

_log = logging.getLogger("edgekd")
# Of operators without weights, and of what flows between layers, where any layer has integers that flow.
BASE = "static_wi8_ai8"
# Operators between two kinds of numbers, with their tensors and names: what ResNet-8's files grew by for one layer.
_CODECS_OF_TFLITE, _CODECS_OF_ONNX = 264, 500
# Between the smallest file that keeps the score and the next smaller one that was tried.
_REFINEMENTS = 3
# Files are a little larger than their layers' sum where numbers of two kinds meet: these shares are left free.
_MARGINS = (0.0, 0.01, 0.03)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The plan of a mixed file.

    Attributes:
        plan: For the quantizer.
        weights: Of each operator with weights, in the order of the float file, its name (where the format has names)
            and the dtype that its weights must have.
        loosest: The precision among the layers' that explains the largest error.
    """

    plan: QuantizationPlan
    weights: tuple[tuple[str, str], ...]
    loosest: str
    search: MixedSearch


def stored_bytes(format_name: str, layer: Any, precision: str, base: str = BASE) -> int:
    """Say how many bytes of a file a layer's weights, scales, zero points and biases take, and what they bring along.

    Args:
        format_name: `onnx` or `tflite`, which stores zero points and the scales of biases with 12 bytes a channel.
        layer: A torch module with weights.
        precision: Of the layer.
        base: Of the operators beside it.

    >>> from torch import nn
    >>> [stored_bytes("tflite", nn.Conv2d(16, 32, 3), each) for each in ("fp32", "static_wi8_ai8", "static_wi4_ai8")]
    [18824, 5504, 3200]
    """
    from edgekd.simulation import channel_axis, weight_bits

    decoded, bits = decode_precision(precision), weight_bits(layer, precision)
    if format_name == "tflite":
        beside = _CODECS_OF_TFLITE if decoded.activations != decode_precision(base).activations else 0
    else:
        beside = _CODECS_OF_ONNX if decoded.mode == "static" else 0
    numbers, channels = int(layer.weight.numel()), int(layer.weight.shape[channel_axis(layer)])
    if bits is None:
        return beside + numbers * (2 if decoded.weights == "float16" else 4) + 4 * channels
    weights = beside + math.ceil(numbers * bits / 8) + (12 if format_name == "tflite" else 4) * channels
    if decoded.mode != "static":
        return weights + 4 * channels
    biases = (20 if decoded.activations == "int16" else 16) if format_name == "tflite" else 12
    zero_points = 0 if format_name == "tflite" else math.ceil(channels * bits / 8)
    return weights + zero_points + biases * channels


def bits_asked(precision: str) -> int:
    """Bits of a weight that a precision's name asks for.

    >>> [bits_asked(each) for each in ("fp32", "fp16", "static_wi4_ai8")]
    [32, 16, 4]
    """
    return int("".join(each for each in decode_precision(precision).weights if each.isdigit()))


class Search:
    """The search in one format.

    Args:
        mixer: The student, the data and the budget.
        format_name: Of the file.
        source: Float file as it is quantized; files that are tried lie beside it.
        places: Where the student's layers are in it.
        ranges: Of activations by the network's operators.
        tensors: The same by their names in the file.
    """

    def __init__(
        self, mixer: Mixer, format_name: Format, source: Path, *, places: Places, ranges: Ranges, tensors: Ranges
    ) -> None:
        self.mixer, self.format, self.source, self.places = mixer, format_name, source, places
        self.ranges, self.tensors = ranges, tensors
        self.candidates = {path: mixer.candidates_of(format_name, layer) for path, layer in mixer.layers.items()}
        every = {each for given in self.candidates.values() for each in given}
        self.base = BASE if any(decode_precision(each).mode == "static" for each in every) else "fp32"
        self.tried: list[Assignment] = []

    def run(self, losses: Mapping[str, Mapping[str, float]], progress: Progress) -> Mix:
        """Try assignments and take the one that the budget asks for."""
        mixer, budget = self.mixer, self.mixer.budget
        options = {
            path: [
                Option(
                    precision=each,
                    loss=losses[path][each],
                    size=stored_bytes(self.format, mixer.layers[path].module, each, self.base),
                )
                for each in given
            ]
            for path, given in self.candidates.items()
        }
        uniform = self._uniform()
        options, rest = self._weighed(options, uniform)
        limits: list[float] = []
        if budget.size is not None:
            least = sum(min(each.size for each in given) for given in options.values())
            limits = [budget.size * (1 - margin) - rest for margin in _MARGINS]
            limits = [limit for limit in limits if limit >= least]
        # In a child: HiGHS prints what it stumbles over, also where the answer must be JSON.
        wanted = [*uniform.values(), *child.call("the solver", solve, options, mixer.mixed.points, limits)]
        wanted = [each for number, each in enumerate(wanted) if each not in wanted[:number]]
        more = _REFINEMENTS if budget.size is None else 0
        progress.start(f"mixed precision, {self.format}", len(wanted) + more)
        try:
            for assignment in wanted:
                self._judge(assignment)
                progress.advance()
            for _ in range(more):
                if (limit := self._between(options)) is not None:
                    self._judge(child.call("the solver", assign, options, limit))
                progress.advance()
        finally:
            progress.end()
        return self._choose(options)

    def _uniform(self) -> dict[str, Assignment]:
        """Assignments of one precision; layers that can't have it get what is nearest in bits."""
        return {
            precision: {
                path: precision
                if precision in given
                else min(given, key=lambda each: abs(bits_asked(each) - bits_asked(precision)))
                for path, given in self.candidates.items()
            }
            for precision in dict.fromkeys(each for given in self.candidates.values() for each in given)
        }

    def _weighed(
        self, options: Mapping[str, Sequence[Option]], uniform: Mapping[str, Assignment]
    ) -> tuple[dict[str, list[Option]], int]:
        """Add to each layer what files of one precision weigh beyond its numbers; give the rest, which all files have.

        In ONNX that is names and nodes: some hundred bytes a layer. Integers that flow in all layers need no codecs
        between them, so they show nothing of a mixed file.
        """
        rests = {
            precision: size - size_of(options, assignment)
            for (precision, assignment), size in zip(uniform.items(), self._sizes(list(uniform.values())), strict=True)
        }
        stored = {each: rest for each, rest in rests.items() if decode_precision(each).mode != "static"}
        rest = min((stored or rests).values())
        more = {each: round((found - rest) / len(options)) for each, found in stored.items()}
        weighed = {
            path: [replace(each, size=each.size + more.get(each.precision, 0)) for each in given]
            for path, given in options.items()
        }
        return weighed, rest

    def _judge(self, assignment: Assignment) -> None:
        if assignment not in self.tried:
            self.mixer.judge(assignment, self.base, self.ranges)
            self.tried.append(assignment)

    def _between(self, options: Mapping[str, Sequence[Option]]) -> float | None:
        """Half way from the smallest that keeps the score to the next smaller one."""
        sizes = [size_of(options, each) for each in self.tried]
        kept = [size for size, each in zip(sizes, self.tried, strict=True) if self._keeps(each)]
        smaller = [size for size in sizes if size < min(kept, default=0)]
        return (min(kept) + max(smaller)) / 2 if smaller else None

    def _keeps(self, assignment: Assignment) -> bool:
        _, score = self.mixer.judge(assignment, self.base, self.ranges)
        return self.mixer.budget.keeps(score, self.mixer.reference)

    def _choose(self, options: Mapping[str, Sequence[Option]]) -> Mix:
        mixer, budget = self.mixer, self.mixer.budget
        files = []
        for assignment, size in zip(self.tried, self._sizes(self.tried), strict=True):
            loss, score = mixer.judge(assignment, self.base, self.ranges)
            predicted = loss_of(options, assignment)
            files.append(
                MixedFile(layers=assignment, size_bytes=size, predicted_loss=predicted, loss=loss, score=score)
            )
        files.sort(key=lambda file: (file.size_bytes, file.loss))
        chosen = budget.choose(files, mixer.reference, self.format)
        assignment = files[chosen].layers
        counts = Counter(assignment.values())
        _log.info(
            "export: mixed for %s: %s, %s %.4g in simulation (float32 %.4g): %s",
            self.format,
            human(files[chosen].size_bytes, "B"),
            budget.metric.replace("_", " "),
            files[chosen].score,
            mixer.reference,
            ", ".join(f"{count} layers {precision}" for precision, count in counts.most_common()),
        )
        search = MixedSearch(
            budget=str(budget),
            metric=budget.metric,
            reference=mixer.reference,
            costs=tuple(
                LayerCost(layer=path, precision=each.precision, loss=each.loss, size_bytes=each.size)
                for path, given in options.items()
                for each in given
            ),
            files=tuple(files),
            chosen=chosen,
        )
        return Mix(
            plan=self._plan(assignment),
            weights=tuple(self._weights(assignment)),
            loosest=min({self.base, *assignment.values()}, key=bits_asked),
            search=search,
        )

    def _plan(self, assignment: Assignment) -> QuantizationPlan:
        given = {each.output: assignment.get(each.layer or "", self.base) for each in self.places.layers}
        layers = {output: precision for output, precision in given.items() if precision != self.base}
        io = self.mixer.spec.io if self.base == BASE else None
        return QuantizationPlan(precision=self.base, layers=layers, ranges=self.tensors, io=io)

    def _weights(self, assignment: Assignment) -> Iterator[tuple[str, str]]:
        from edgekd.simulation import weight_bits

        for each in self.places.layers:
            precision, layer = assignment.get(each.layer or "", self.base), self.mixer.layers.get(each.layer or "")
            bits = None if layer is None else weight_bits(layer.module, precision)
            yield each.name, decode_precision(precision).weights if bits is None else f"int{bits}"

    def _sizes(self, assignments: Sequence[Assignment]) -> list[int]:
        """Make files, only to weigh them."""
        paths = [self.source.with_name(f"tried-{number}.{self.format}") for number in range(len(assignments))]
        plans = [
            (self.source, self._plan(assignment), path) for assignment, path in zip(assignments, paths, strict=True)
        ]
        quantize(self.format, plans)
        sizes = [path.stat().st_size for path in paths]
        for path in paths:
            path.unlink()
        return sizes
