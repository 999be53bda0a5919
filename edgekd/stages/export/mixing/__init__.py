"""Finds a precision for each layer: what each costs, the assignments worth trying, and those tried as a whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import ExportError
from edgekd.metrics import metrics_of, score_all
from edgekd.progress import Progress
from edgekd.records import ExportSpec, Format, Ranges, Task, decode_precision
from edgekd.stages.export.calibrating import SampleSource, choose_ranges
from edgekd.stages.export.converting import find_places
from edgekd.stages.export.mixing.assigning import Assignment
from edgekd.stages.export.mixing.budget import Budget
from edgekd.stages.export.mixing.searching import BASE, Mix, Search, bits_asked
from edgekd.stages.export.placing import Places
from edgekd.stats import Stream

if TYPE_CHECKING:
    from torch import fx, nn

    from edgekd.stages.export.mixing.sensitivity import Layer

__all__ = ["Mix", "Mixer"]

_log = logging.getLogger("edgekd")
_PROBES = 4


class Mixer:
    """Searches the plans of mixed files of a student.

    Args:
        network: On the CPU, in evaluation mode; takes what files take, gives logits or values.
        spec: Has `mixed`.
        inputs: Of the validation split: nothing else decides.
        labels: Theirs.
        task: What the student predicts.

    Raises:
        ConfigError: A budget of another metric than the task's.
        ExportError: The network can't be traced, or has no layer with weights.
    """

    def __init__(
        self, network: nn.Module, spec: ExportSpec, *, inputs: SampleSource, labels: NDArray[Any], task: Task
    ) -> None:
        from edgekd.simulation import fold
        from edgekd.stages.export.mixing.sensitivity import layers_of

        if spec.mixed is None:
            raise ExportError("no mixed precision is asked for", where="export")
        self.spec, self.mixed, self.task = spec, spec.mixed, task
        self.inputs, self.labels = inputs, labels
        self.budget = Budget(self.mixed, metrics_of(task, labels)[0])
        self.folded: fx.GraphModule = fold(network, self.inputs[:2])
        self.layers = layers_of(self.folded)
        if not self.layers:
            raise ExportError("no layer has weights", where="mixed", next_step="leave export.mixed out")
        self._judged: dict[tuple[object, ...], tuple[float, float]] = {}
        self._expected = self._outputs(self.folded)

    def search(
        self,
        sources: Mapping[Format, Path],
        streams: Mapping[Path, Mapping[str, Stream]],
        *,
        calibration: NDArray[np.float32] | None,
        progress: Progress,
    ) -> dict[Format, Mix]:
        """Find the plan of each format's mixed file.

        Args:
            sources: Float files as they are quantized, in a folder for files that are tried.
            streams: Of those files' activations, for static precisions.
            calibration: The same samples, for activations that no file has.
            progress: Hears of layers and of files.

        Raises:
            ExportError: Nothing that was tried keeps the budget: says what comes nearest.
        """
        places = {name: self._place(name, path) for name, path in sources.items()}
        self._leave_out_what_is_in_no_file(places)
        ranges = self._ranges(places, {name: streams.get(path, {}) for name, path in sources.items()}, calibration)
        losses = self._losses(ranges, progress)
        return {
            name: Search(
                self,
                name,
                path,
                places=places[name],
                ranges=ranges,
                tensors=choose_ranges(streams.get(path, {}), self.spec.calibration, BASE),
            ).run(losses, progress)
            for name, path in sources.items()
        }

    def candidates_of(self, format_name: str, layer: Layer) -> list[str]:
        """Which of the candidates a layer can have in a format: none that is another one's twin there."""
        from edgekd.simulation import weight_bits

        able = registry.load("quantizers", format_name).LAYER_PRECISIONS
        found: dict[tuple[str, str, str], str] = {}
        # The most bits first: where 4 become 8, the precision of 8 says what the file has.
        for precision in sorted((each for each in self.mixed.candidates if each in able), key=bits_asked, reverse=True):
            decoded, bits = decode_precision(precision), weight_bits(layer.module, precision)
            found.setdefault(
                (decoded.weights if bits is None else f"int{bits}", decoded.activations, decoded.mode), precision
            )
        return [each for each in self.mixed.candidates if each in found.values()]

    def judge(self, assignment: Assignment, base: str, ranges: Ranges) -> tuple[float, float]:
        """Simulate the whole network on all validation data: mean loss and score."""
        from edgekd.simulation import simulate
        from edgekd.stages.export.mixing.sensitivity import losses_of

        key = (base, *sorted(assignment.items()))
        if key not in self._judged:
            sites = {site: assignment[path] for path, layer in self.layers.items() for site in layer.sites}
            outputs = self._outputs(simulate(self.folded, base, ranges=ranges, layers=sites))
            loss = float(losses_of(self._expected, outputs, self.task).mean())
            self._judged[key] = loss, self._score(outputs)
        return self._judged[key]

    @property
    def reference(self) -> float:
        """The float student's score."""
        return self._score(self._expected)

    def _score(self, outputs: NDArray[np.float64]) -> float:
        inputs = self.inputs[:].reshape(len(outputs), -1) if self.task == "reconstruction" else None
        return score_all(self.task, outputs=outputs, labels=self.labels, inputs=inputs)[0].value

    def _outputs(self, network: fx.GraphModule) -> NDArray[np.float64]:
        import torch

        from edgekd.simulation import batches

        with torch.inference_mode():
            found = torch.cat([network(batch) for batch in batches(self.inputs)])  # type: ignore[arg-type]  # slices
        return np.asarray(found.reshape(len(found), -1).double().numpy(), np.float64)

    def _losses(self, ranges: Ranges, progress: Progress) -> dict[str, dict[str, float]]:
        from edgekd.stages.export.mixing.sensitivity import measure

        wanted = {
            path: [
                each
                for each in self.mixed.candidates
                if any(each in self.candidates_of(name, layer) for name in self.spec.formats)
            ]
            for path, layer in self.layers.items()
        }
        count = min(self.mixed.samples, len(self.inputs))
        chosen = (np.arange(count) * len(self.inputs) // count).tolist()
        samples = np.concatenate([self.inputs[number : number + 1] for number in chosen])
        return measure(self.folded, wanted, samples=samples, ranges=ranges, task=self.task, progress=progress)

    def _place(self, format_name: Format, path: Path) -> Places:
        from edgekd.simulation import activations

        probes = self.inputs[:_PROBES]
        weights = {name: layer.module.weight.detach().numpy() for name, layer in self.layers.items()}  # type: ignore[operator]
        return find_places(
            format_name, path, weights=weights, activations=activations(self.folded, probes), probes=probes
        )

    def _leave_out_what_is_in_no_file(self, places: Mapping[Format, Places]) -> None:
        """Forget layers that a converter has made something else of: they get what has no weights gets."""
        for name, found in places.items():
            for path in self.layers.keys() - {each.layer for each in found.layers}:
                _log.warning(
                    "export: the %s file has no operator with the weights of '%s': it is not mixed", name, path
                )
                del self.layers[path]
        if not self.layers:
            raise ExportError("no layer is found in the files", where="mixed", next_step="leave export.mixed out")

    def _ranges(
        self,
        places: Mapping[Format, Places],
        streams: Mapping[Format, Mapping[str, Stream]],
        calibration: NDArray[np.float32] | None,
    ) -> Ranges:
        """Ranges of the network's operators: those of the files, measured where no file has the activation."""
        from edgekd.simulation import observe

        if calibration is None:
            return {}
        ranges = observe(self.folded, calibration)
        for name, found in streams.items():
            for tensor, limits in choose_ranges(found, self.spec.calibration, BASE).items():
                site = places[name].activations.get(tensor)
                if site is not None:
                    ranges[site] = limits
        return ranges
