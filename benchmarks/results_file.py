"""Benchmark results as JSON: every run is kept as it ends, so that a benchmark goes on where it was cut off."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekd import store
from edgekd.pipeline.folder import TOOLS

RESULTS = Path(__file__).parent / "results"


class Results:
    """One file `results/NAME.json`.

    Args:
        name: Of the benchmark.
        quick: Write `NAME.quick.json`, which is not committed, instead.
        fresh: Forget earlier runs.
        keep: Keep earlier runs on the same machine whatever the revision; each run says what it ran.
    """

    def __init__(self, name: str, *, quick: bool = False, fresh: bool = False, keep: bool = False) -> None:
        self.path = RESULTS / f"{name}{'.quick' if quick else ''}.json"
        environment = _environment()
        earlier = {} if fresh or not self.path.exists() else json.loads(self.path.read_text())
        before = earlier.get("environment", {})
        same = {key: before.get(key) for key in environment} == environment
        goes_on = (same and not earlier.get("claims")) or (keep and before.get("cpu") == environment["cpu"])
        self.content: dict[str, Any] = (
            earlier
            if goes_on
            else {
                "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
                "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "environment": environment,
                "runs": [],
                "claims": {},
            }
        )

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Finished runs, the bad ones too."""
        found: list[dict[str, Any]] = self.content["runs"]
        return found

    @property
    def revision(self) -> str:
        """What is checked out now."""
        return git_revision()

    def add(self, **run: object) -> None:
        """Keep a finished run."""
        self.runs.append(store.to_json(run))
        self._write()

    def claim(
        self, name: str, value: float, unit: str, *, bound: str = "", holds: bool | None = None, **interval: float
    ) -> None:
        """State what the runs show; the last thing a benchmark does."""
        self.content["claims"][name] = {"value": value, "unit": unit, **interval, "bound": bound, "holds": holds}
        self._write()
        print(f"{name}: {value:.4g} {unit} {bound} {'' if holds is None else 'holds' if holds else 'DOES NOT HOLD'}")

    def _write(self) -> None:
        store.write_json(self.path, self.content)


def git_revision() -> str:
    """What is checked out now."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _environment() -> dict[str, Any]:
    cpu = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "git_revision": git_revision(),
        **store.tool_versions("edgekd", *TOOLS),
    }
