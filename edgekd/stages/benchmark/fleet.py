"""Measures on several machines at the same time; on each of them one file after another, or they disturb each other."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from edgekd import registry
from edgekd.errors import ModelError, TargetError
from edgekd.progress import Progress
from edgekd.records import Measurement, Target
from edgekd.stages.benchmark.failures import TooBigError
from edgekd.stages.benchmark.pairs import Pair
from edgekd.stages.benchmark.session import STEPS, Session

_LOG = logging.getLogger("edgekd")


class Failures:
    """Targets that failed, each with its error: they are left alone from then on.

    Args:
        plan: What is to be measured; where it has one target only, its error says it all.
        on_failure: Hears of each target that failed, where others went on.

    Attributes:
        stopped: Whether all were told to stop; what fails then says nothing of a target.
    """

    def __init__(self, plan: Sequence[Pair], on_failure: Callable[[TargetError], None] | None) -> None:
        self._found: dict[str, TargetError] = {}
        self._alone = len({pair.target.name for pair in plan}) == 1
        self._on_failure = on_failure
        self.stopped = False

    def __contains__(self, name: str) -> bool:
        return name in self._found

    @contextlib.contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Note what a target fails with."""
        try:
            yield
        except TargetError as error:
            self._found[name] = error
            if not self._alone and not self.stopped:
                _warn(error, name)

    def tell(self, measured: Sequence[Measurement]) -> None:
        """Raise the first where they left nothing, else tell of each."""
        for name, error in self._found.items():
            if not measured:
                raise error
            if self._alone:
                _warn(error, name)
            if self._on_failure:
                self._on_failure(error)


def _warn(error: TargetError, name: str) -> None:
    rest = "%s; the rest of %s is not measured: look at it with 'edgekd targets check %s' and try again"
    _LOG.warning(rest, error, name, name)


class Fleet:
    """The machines of a plan, and what was measured on them so far.

    Args:
        plan: What to measure, in the order of the result.
        sessions: By the name of the target; of those that can be reached.
        failures: The others.
    """

    def __init__(self, plan: Sequence[Pair], sessions: Mapping[str, Session], failures: Failures) -> None:
        self._sessions, self._failures = sessions, failures
        self._found: list[tuple[Pair, list[Measurement]]] = [(pair, []) for pair in plan]
        # Neither measured nor rejected; those of a target that failed stay so.
        self._open = list(plan)
        self._lock = threading.Lock()

    def measure(self, progress: Progress) -> list[Measurement]:
        """Measure all pairs.

        Raises:
            ModelError: None of the targets that read a file accepts it.
            TargetError: Nothing was measured, because all targets failed.
            EdgekdError: As `Session.measure`; what runs on other machines is ended.
        """
        machines: dict[object, list[int]] = {}
        for index, (pair, _) in enumerate(self._found):
            machines.setdefault(machine_of(pair.target), []).append(index)
        if len(machines) == 1:
            self._measure_on_one(range(len(self._found)), progress)
        elif machines:
            self._measure_on_all(list(machines.values()), progress)
        measured = [each for _, found in self._found for each in found]
        self._failures.tell(measured)
        return measured

    def _measure_on_all(self, machines: Sequence[Sequence[int]], progress: Progress) -> None:
        with ThreadPoolExecutor(len(machines)) as pool:
            try:
                running = [pool.submit(self._measure_on_one, each, progress.beside()) for each in machines]
                for each in wait(running, return_when=FIRST_EXCEPTION).done:
                    each.result()
            except BaseException:  # Ctrl-C comes here, while the others go on
                self._failures.stopped = True
                for session in self._sessions.values():
                    session.stop()
                raise

    def _measure_on_one(self, indices: Sequence[int], progress: Progress) -> None:
        """Measure pairs of one machine, one after another."""
        names = dict.fromkeys(self._found[index][0].target.name for index in indices)
        alone = len(indices) == len(self._found)
        progress.start("benchmark" if alone else f"benchmark {', '.join(names)}", len(indices) * STEPS)
        try:
            for index in indices:
                pair, found = self._found[index]
                if pair.target.name in self._failures:
                    progress.advance(STEPS)
                    continue
                with self._failures.noted(pair.target.name):
                    self._measure(pair, found, progress)
        finally:
            progress.end()

    def _measure(self, pair: Pair, found: list[Measurement], progress: Progress) -> None:
        """Add to `found` what a pair gives; of a file that runs elsewhere, or might, only warn."""
        session, advanced = self._sessions[pair.target.name], 0
        try:
            for step in session.measure(pair):
                found += step
                progress.advance()
                advanced += 1
        except TooBigError as error:
            _LOG.warning("%s", error)
            found.append(session.needed(pair, error))
        except ModelError as error:
            if self._failures.stopped or not self._runs_elsewhere(pair):
                raise
            rest = "the rest of " if advanced else ""
            _LOG.warning("%s; %s%s is not measured on %s", error, rest, pair.model.name, pair.target.name)
        finally:
            progress.advance(STEPS - advanced)
        self._settle(pair)

    def _settle(self, pair: Pair) -> None:
        with self._lock:
            self._open = [each for each in self._open if each is not pair]

    def _runs_elsewhere(self, pair: Pair) -> bool:
        """Whether a file that was rejected was measured all the same, or may be yet."""
        self._settle(pair)  # before another thread asks the same of the same file
        with self._lock:
            waiting = any(each.model is pair.model for each in self._open)
            return waiting or any(found for each, found in self._found if each.model is pair.model)


def machine_of(target: Target) -> tuple[str, str]:
    """Name the machine whose processor a target's times are of.

    >>> here = [Target(name=name, description="", runtimes=()) for name in ("host", "cortex-m4")]
    >>> pi = Target(name="pi", description="", runtimes=(), transport="ssh", address="pi.local")
    >>> [machine_of(each) for each in (*here, pi)]
    [('here', ''), ('here', ''), ('ssh', 'pi.local')]
    """
    if registry.runs_here(target.transport):
        return "here", ""
    # All phones without a serial are the only one there is.
    return target.transport, target.address or ("" if target.transport == "adb" else target.name)
