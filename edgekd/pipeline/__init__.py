"""What joins the stages: runs, verdicts on them, and what is kept of both.

Loaded on first use: a gate in CI imports nothing of training, packaging and measuring.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.pipeline.announcing import find_places, read_wishes
    from edgekd.pipeline.bare import FileFacts, package_file
    from edgekd.pipeline.baseline import BASELINE, Against, open_against, promote, write_baseline
    from edgekd.pipeline.bundling import collect, verify_bundle, write_bundle
    from edgekd.pipeline.folder import RECIPE, check_files, open_gate_spec, open_run
    from edgekd.pipeline.gating import judge, open_for_gate, report_verdict, unused_metrics
    from edgekd.pipeline.history import Past, recall, remember
    from edgekd.pipeline.kernels import compare_on_arm64
    from edgekd.pipeline.manifest import verify
    from edgekd.pipeline.reporting import compare_runs, markdown_report
    from edgekd.pipeline.running import Outcome, replay_caches, rewrite_report, run
    from edgekd.pipeline.steps import STEPS
    from edgekd.pipeline.tracking import Exported, export_history

__all__ = [
    "BASELINE",
    "RECIPE",
    "STEPS",
    "Against",
    "Exported",
    "FileFacts",
    "Outcome",
    "Past",
    "check_files",
    "collect",
    "compare_on_arm64",
    "compare_runs",
    "export_history",
    "find_places",
    "judge",
    "markdown_report",
    "open_against",
    "open_for_gate",
    "open_gate_spec",
    "open_run",
    "package_file",
    "promote",
    "read_wishes",
    "recall",
    "remember",
    "replay_caches",
    "report_verdict",
    "rewrite_report",
    "run",
    "unused_metrics",
    "verify",
    "verify_bundle",
    "write_baseline",
    "write_bundle",
]

_HOME = {
    "BASELINE": "baseline",
    "RECIPE": "folder",
    "STEPS": "steps",
    "Against": "baseline",
    "Exported": "tracking",
    "FileFacts": "bare",
    "Outcome": "running",
    "Past": "history",
    "check_files": "folder",
    "collect": "bundling",
    "compare_runs": "reporting",
    "compare_on_arm64": "kernels",
    "export_history": "tracking",
    "find_places": "announcing",
    "judge": "gating",
    "markdown_report": "reporting",
    "open_against": "baseline",
    "open_for_gate": "gating",
    "open_gate_spec": "folder",
    "open_run": "folder",
    "package_file": "bare",
    "promote": "baseline",
    "read_wishes": "announcing",
    "recall": "history",
    "remember": "history",
    "replay_caches": "running",
    "report_verdict": "gating",
    "rewrite_report": "running",
    "run": "running",
    "unused_metrics": "gating",
    "verify": "manifest",
    "verify_bundle": "bundling",
    "write_baseline": "baseline",
    "write_bundle": "bundling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'edgekd.pipeline' has no attribute '{name}'")
    return getattr(importlib.import_module(f"edgekd.pipeline.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
