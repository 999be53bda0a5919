"""Measures pairs of file and runtime on one target, through its transport."""

from __future__ import annotations

import contextlib
import json
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import edgekd
from edgekd import registry
from edgekd.errors import TargetError
from edgekd.metrics import metrics_of
from edgekd.records import BenchmarkSpec, Measurement, Model, Target, Task
from edgekd.stages.benchmark.agreement import Predicted, predictions_of
from edgekd.stages.benchmark.classes import class_scores
from edgekd.stages.benchmark.energy import joules_of
from edgekd.stages.benchmark.events import Events, parse_events
from edgekd.stages.benchmark.failures import TooBigError, check_file, failure, where
from edgekd.stages.benchmark.generating import contexts_of, generation_of, likelihood_of
from edgekd.stages.benchmark.pairs import Pair
from edgekd.stages.benchmark.processes import memory_of, needed_memory, starts_of, sustained_of
from edgekd.stages.benchmark.recording import now, record
from edgekd.stages.benchmark.samples import choose_samples, fit_layout
from edgekd.stages.benchmark.scoring import fetch_outputs, score_outputs
from edgekd.stages.benchmark.taint import cool_down
from edgekd.store import write_bytes
from edgekd.transports import Finding, Transport

_LOG = logging.getLogger("edgekd")
# Latency, memory, scores, load: the parts of a pair that progress counts.
STEPS = 4
# Of taking times on a target that is throttled, before they are taken for what they are.
_TRIES = 3
# Load time and first inference are one sample a process; so many processes where they start quickly.
_LOADS = 5
# What a process may take besides its inferences; emulated processors need minutes to import a runtime.
_PATIENCE_S = 300.0
# Of a file whose speed there is not known yet.
_PATIENCE_PER_SAMPLE_S = 60.0
_NS_PER_S = 1e9


class Session:
    """A connection to one target, with the runner and the samples already there.

    Args:
        target: Where to measure.
        spec: For how long.
        inputs: (N, …), or none.
        labels: As the task has them, or none.
        task: What the files' outputs are.
        folder: For raw events and outputs.
        quiet: Held while times are taken on this machine, and by what else makes it work meanwhile.
    """

    def __init__(
        self,
        target: Target,
        spec: BenchmarkSpec,
        inputs: NDArray[np.float32] | None,
        labels: NDArray[Any] | None,
        task: Task,
        folder: Path | None,
        quiet: threading.Lock | None = None,
    ) -> None:
        self._target, self._spec, self._task, self._folder = target, spec, task, folder
        quiet, here = quiet or threading.Lock(), registry.runs_here(target.transport)
        takes_times = here and target.time_basis == "measured"
        self._timing = quiet if takes_times else contextlib.nullcontext()
        self._working = contextlib.nullcontext() if here else quiet
        self._stopped = threading.Event()
        self.predicted: list[Predicted] = []
        self._inputs, self._labels = inputs, labels
        if inputs is not None and labels is not None:
            self._chosen = choose_samples(labels, target.accuracy_samples)
            self._inputs, self._labels = inputs[self._chosen], labels[self._chosen]
        self._given_inputs: dict[tuple[tuple[int, ...], bool], str] = {}
        self._versions: dict[str, str] = {}
        self._pushed: dict[Path, str] = {}
        self._rest_s, self._cools = 0.0, True

    def __enter__(self) -> Self:
        connect: Callable[[Target], Transport] = registry.function("transports", self._target.transport)
        with contextlib.ExitStack() as opened:
            self._transport = connect(self._target)
            opened.callback(self._transport.close)
            self._local = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="edgekd-")))
            self._runner = self._transport.push(Path(edgekd.__file__).with_name("runner.py"))
            self._opened = opened.pop_all()  # only now: what fails above would not meet `__exit__`
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def stop(self) -> None:
        """End what another thread measures; it fails then."""
        self._stopped.set()
        self._transport.close()

    def check(self) -> Iterator[Finding]:
        """Look at what the transport looks at, then at each runtime of the target."""
        yield from self._transport.check()
        for name in self._target.runtimes:
            try:
                version = self.require(registry.load("runtimes", name))
            except TargetError as error:
                step = error.next_step or ""
                yield Finding(name=f"runtime {name}", right=False, detail=error.what, next_step=step)
            else:
                yield Finding(name=f"runtime {name}", right=True, detail=version)

    def require(self, runtime: ModuleType) -> str:
        """Find out whether a runtime can be imported there, once; gives its version.

        Raises:
            TargetError: It can't; says how to install it.
        """
        if runtime.__name__ not in self._versions:
            job = self._job(runtime, self._target, Path(), "environment")
            events = self._execute(runtime, job, Path(), _PATIENCE_S)
            if not events.of("done"):
                raise failure(events, runtime, self._target, self._target.name)
            self._versions[runtime.__name__] = events.of("environment")["runtime_version"]
        return self._versions[runtime.__name__]

    def measure(self, pair: Pair) -> Iterator[list[Measurement]]:
        """Measure a file, one of `STEPS` after another.

        Raises:
            ModelError: The runtime rejects it.
            TargetError: The target took too long, or can't be reached any more.
        """
        if pair.model.has_cache and not registry.feeds_cache(pair.runtime):
            name = pair.runtime.__name__.rpartition(".")[2]
            words = "%s: %s gives a language model no cache, so that nothing of it is measured there"
            _LOG.warning(words, where(pair), name)
            return
        self._stopped.wait(self._rest_s)
        self._rest_s = self._target.cooldown_s
        with self._working:
            remote, basis = self._transport.push(pair.model.path), self._target
            inputs = self._give_inputs(pair.model, pair.stand_in) if pair.stand_in else None
        if registry.estimates(pair.runtime):
            yield from self._estimate(pair, remote, inputs)
            return

        latency = self._run_untainted(pair, remote, inputs)
        samples, warmup = ([ns / _NS_PER_S for ns in latency.of(name)["ns"]] for name in ("samples", "warmup"))
        yield [record(pair, latency, "latency", samples, basis=basis.time_basis, warmup=warmup)]

        memory = self._run(pair, "memory", remote, inputs)
        yield memory_of(pair, memory, basis.memory_basis)

        processes = [latency, memory]
        if pair.model.has_cache:
            yield list(self._judge_windows(pair, remote, inputs))
        elif inputs and self._labels is not None and pair.stand_in:
            patience_s = _PATIENCE_S + 20 * len(self._labels) * statistics.median(samples)
            scored = self._run(replace(pair, runtime=pair.stand_in), "accuracy", remote, inputs, patience_s)
            for each in scored.all("warning"):
                _LOG.warning("%s: %s", where(pair), each["message"])
            if pair.stand_in is pair.runtime and scored.of("outputs"):
                processes.append(scored)
            yield self._score(pair, scored, self._labels) if scored.of("outputs") else []
        else:
            yield []

        missing = _LOADS - len(processes)
        if missing * memory.wall_s <= self._spec.time_limit_s:
            with self._timing:
                processes += [self._run(pair, "load", remote, inputs) for _ in range(missing)]
        times = starts_of(pair, processes, basis.time_basis)
        energy = self._energy(pair, remote, inputs) if latency.of("environment").get("power_source") else ()
        generated = self._generate(pair, remote, inputs) if pair.model.has_cache else ()
        # Last of all: what comes after would meet a hot machine.
        yield [*times, *energy, *generated, *(self._sustain(pair, remote, inputs) if self._spec.sustained_s else ())]

    def _generate(self, pair: Pair, remote: str, inputs: str | None) -> Iterator[Measurement]:
        """Texts after prompts of several lengths, and the memory of caches of several lengths, in a process each."""
        patience_s = _PATIENCE_S + _PATIENCE_PER_SAMPLE_S * len(self._spec.generation.prompt_lengths)
        patience_s += self._spec.time_limit_s * len(self._spec.generation.prompt_lengths)
        with self._timing:
            generated = self._run(pair, "generate", remote, inputs, patience_s)
        contexts = self._run(pair, "contexts", remote, inputs, patience_s)
        for each in (*generated.all("warning"), *contexts.all("warning")):
            _LOG.warning("%s: %s; it is not measured", where(pair), each["message"])
        yield from generation_of(pair, generated, self._target.time_basis)
        yield from contexts_of(pair, contexts, self._target.memory_basis)

    def _judge_windows(self, pair: Pair, remote: str, inputs: str | None) -> Iterator[Measurement]:
        """How likely texts are to the file itself; of other tasks than writing on, nothing."""
        if inputs is None or self._labels is None or metrics_of(self._task)[0] != "perplexity":
            return
        patience_s = _PATIENCE_S + _PATIENCE_PER_SAMPLE_S * len(self._labels)
        yield from likelihood_of(pair, self._run(pair, "likelihood", remote, inputs, patience_s), self._labels)

    def _energy(self, pair: Pair, remote: str, inputs: str | None) -> Iterator[Measurement]:
        if self._target.time_basis != "measured":
            return  # the power of the machine that stands in for the target
        with self._timing:
            events = self._run(pair, "energy", remote, inputs)
        if joules := joules_of(events.of("energy")):
            yield record(pair, events, "energy", joules, basis="measured")

    def _sustain(self, pair: Pair, remote: str, inputs: str | None) -> Iterator[Measurement]:
        if hasattr(pair.runtime, "run"):
            _LOG.warning("%s: its runtime has a program of its own; there is no long run of it", where(pair))
            return
        events = self._run(pair, "sustained", remote, inputs, _PATIENCE_S + self._spec.sustained_s)
        yield sustained_of(pair, events, self._spec.sustained_s, self._target.time_basis)

    def run(self, pair: Pair, mode: str) -> Events:
        """Run a file in a mode of the runner that takes no more than `BenchmarkSpec.time_limit_s`.

        Raises:
            EdgekdError: As `take_turns`; or the runtime can't do that.
        """
        inputs = self._give_inputs(pair.model, pair.runtime)
        return self._run(pair, mode, self._transport.push(pair.model.path), inputs)

    def take_turns(self, pair: Pair, other: Pair, *, number: int) -> Events:
        """Run two files in turns, in one process, of which this is that number.

        Raises:
            ModelError: A runtime rejects its file.
            TargetError: The target took too long, or can't be reached any more.
        """
        for each in (pair, other):
            if each.model.path not in self._pushed:
                self._pushed[each.model.path] = self._transport.push(each.model.path)
        job, other_job = (
            {**self._job(each.runtime, each.target, each.model.path, "compare"), "model": self._pushed[each.model.path]}
            for each in (pair, other)
        )
        events = self._execute(pair.runtime, {**job, "other": other_job}, pair.model.path, _PATIENCE_S)
        self._keep(pair, f"compare-{number}.jsonl", events.lines())
        check_file(events.of("model"), pair)
        check_file(events.of("other"), other)
        if not events.of("done"):
            guilty = other if events.of("other") else pair
            raise failure(events, guilty.runtime, self._target, where(guilty))
        return events

    def _run_untainted(self, pair: Pair, remote: str, inputs: str | None) -> Events:
        """Take times; where the target was throttled or the like, let it cool down and take them again."""
        for tries_left in reversed(range(_TRIES)):
            with self._timing:
                events = self._run(pair, "latency", remote, inputs)
            taint = events.taint()
            if not taint or not tries_left or not self._cool_down(pair, taint):
                break
        if taint:
            self._cools = False
            _LOG.warning("%s: %s; times from there prove nothing", where(pair), taint)
        return events

    def _cool_down(self, pair: Pair, taint: str) -> bool:
        """Wait until the target is itself again; what waiting did not end once, such as weak power, it won't later."""
        if self._cools:
            _LOG.warning("%s: %s; it rests, then times are taken again", where(pair), taint)
            state = self._job(pair.runtime, pair.target, Path(), "state")
            self._cools = cool_down(
                lambda: self._execute(pair.runtime, state, Path(), _PATIENCE_S).of("conditions"),
                sleep=self._stopped.wait,
            )
        return self._cools

    def _estimate(self, pair: Pair, remote: str, inputs: str | None) -> Iterator[list[Measurement]]:
        """What a runtime says of a file that it does not run, and what another finds that stands in for it."""
        estimated = self._run(pair, "latency", remote, inputs)
        for each in estimated.all("warning"):
            _LOG.warning("%s: %s", where(pair), each["message"])
        yield [
            record(pair, estimated, each["metric"], [each["value"]], basis="estimated")
            for each in estimated.all("estimate")
        ]
        if pair.stand_in is None:
            return
        # The RAM is that of the accelerator, which has another plan for it.
        other = replace(pair, runtime=pair.stand_in, target=replace(pair.target, ram_bytes=None))
        yield memory_of(other, self._run(other, "memory", remote, inputs), self._target.memory_basis)
        if inputs and self._labels is not None:
            patience_s = _PATIENCE_S + _PATIENCE_PER_SAMPLE_S * len(self._labels)
            yield self._score(other, self._run(other, "accuracy", remote, inputs, patience_s), self._labels)

    def needed(self, pair: Pair, error: TooBigError) -> Measurement:
        """The memory that a file needs, which the target does not have."""
        return needed_memory(pair, error, self._target.memory_basis)

    def outputs(self, pair: Pair) -> tuple[NDArray[np.float32], Events]:
        """Run a file of one input on all samples, in one process.

        Raises:
            ModelError: The runtime rejects it.
            TargetError: The target took too long, or can't be reached any more.
        """
        remote, inputs = self._transport.push(pair.model.path), self._give_inputs(pair.model, pair.runtime)
        samples = 0 if self._inputs is None else len(self._inputs)
        events = self._run(pair, "accuracy", remote, inputs, _PATIENCE_S + _PATIENCE_PER_SAMPLE_S * samples)
        return self._fetch(pair, events), events

    def _fetch(self, pair: Pair, events: Events) -> NDArray[np.float32]:
        """Bring back the outputs, which the runner made floats of."""
        local = fetch_outputs(events, self._transport, self._local / "outputs.npy", where(pair))
        self._keep(pair, "outputs.npy", local.read_bytes())
        outputs: NDArray[np.float32] = np.load(local, allow_pickle=False)
        return outputs

    def _score(self, pair: Pair, events: Events, labels: NDArray[Any]) -> list[Measurement]:
        with self._working:
            outputs = self._fetch(pair, events)
            found = score_outputs(outputs, pair, task=self._task, inputs=self._inputs, labels=labels)
            if self._task == "single_label":
                found += class_scores(outputs, labels, pair.model.head)
            predictions = predictions_of(outputs, self._task, pair.model.head)
        # The file's own arithmetic ran, wherever that was: outputs are real even where times are not.
        scores = [
            record(pair, events, each.metric, each.samples, basis="measured", labels=each.labels) for each in found
        ]
        if predictions is not None:
            self.predicted.append(Predicted(indices=self._chosen, predictions=predictions, score=scores[0]))
        return scores

    def _give_inputs(self, model: Model, runtime: ModuleType) -> str | None:
        """Write the samples in the layout of a file, once a layout, and push them; none for a file of several inputs.

        A runtime with a program of its own takes them from here, and makes of them what its program takes.
        """
        if self._inputs is None or (len(model.inputs) > 1 and not model.has_cache):
            return None
        fitted = self._inputs if model.has_cache else fit_layout(self._inputs, model)
        stays = hasattr(runtime, "run")
        if (fitted.shape, stays) not in self._given_inputs:
            local = self._local / f"inputs-{len(self._given_inputs)}.npy"
            np.save(local, np.ascontiguousarray(fitted, dtype=np.float32))
            self._given_inputs[fitted.shape, stays] = str(local) if stays else self._transport.push(local)
            if not stays:
                local.unlink()
        return self._given_inputs[fitted.shape, stays]

    def _job(self, runtime: ModuleType, target: Target, model: Path, mode: str) -> dict[str, object]:
        spec = self._spec
        job: dict[str, object] = runtime.prepare(
            model=model,
            target=target,
            threads=spec.threads or target.threads,
            mode=mode,
            runs=spec.runs,
            time_limit_s=spec.time_limit_s,
        )
        limits = {"interval_width": spec.interval_width, "sustained_s": spec.sustained_s, "length": spec.length}
        return limits | job

    def _run(self, pair: Pair, mode: str, model: str, inputs: str | None, patience_s: float = _PATIENCE_S) -> Events:
        job = {**self._job(pair.runtime, pair.target, pair.model.path, mode), "model": model, "inputs": inputs}
        if pair.model.has_cache:
            job |= {"cached": True, **asdict(self._spec.generation)}
        if hasattr(pair.runtime, "run"):
            job["working"] = self._working
        events = self._execute(pair.runtime, job, pair.model.path, patience_s + 3 * self._spec.time_limit_s)
        self._keep(pair, f"{mode}.jsonl", events.lines())
        check_file(events.of("model"), pair)
        if not events.of("done"):
            raise failure(events, pair.runtime, self._target, where(pair))
        return events

    def _execute(self, runtime: ModuleType, job: dict[str, object], model: Path, patience_s: float) -> Events:
        if hasattr(runtime, "run"):  # it has no Python there, and makes the runner's events of what it prints
            started_at, started = now(), time.perf_counter()
            events = runtime.run(self._transport, job=job, model=model)
            return Events(events=events, started_at=started_at, wall_s=time.perf_counter() - started)
        local = self._local / "job.json"
        local.write_text(json.dumps(job), encoding="utf-8")
        remote = self._transport.push(local)
        local.unlink()
        started_at, started = now(), time.perf_counter()
        finished = self._transport.run([self._transport.python, self._runner, remote], patience_s)
        return Events(
            events=parse_events(finished.stdout),
            started_at=started_at,
            wall_s=time.perf_counter() - started,
            code=finished.code,
            stderr=finished.stderr,
        )

    def _keep(self, pair: Pair, name: str, content: bytes) -> None:
        if self._folder:
            write_bytes(self._folder / self._target.name / f"{pair.model.name}.{name}", content)
