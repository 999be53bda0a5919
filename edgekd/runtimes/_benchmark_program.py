"""Finds the benchmark_model of a target, and puts one there."""

from __future__ import annotations

import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import store
from edgekd.errors import ConfigError, TargetError
from edgekd.records import Target
from edgekd.runtimes._benchmark_log import read_flags
from edgekd.runtimes._machine import SECTION, ask, read_sections
from edgekd.runtimes._program import Kind, choose, find, put

if TYPE_CHECKING:
    from edgekd.transports import Transport

_DOWNLOAD_S = 60.0
# Of Google's releases: one file a version and a kind of machine, named below the version. They give no sums.
_RELEASES, _RELEASE = "https://storage.googleapis.com/litert/binaries", "2.2.0"
_KINDS = {
    ("Android", "aarch64"): "android_arm64",
    ("Linux", "aarch64"): "linux_arm64",
    ("Linux", "x86_64"): "linux_x86_64",
}
# Files that it writes into its working folder.
RESULT, RUNTIME_INFO, OPERATORS = "result.pb", "runtime_info.pb", "operators.csv"
# Its first words, whatever follows.
ANSWER = "STARTING!"
_NEEDED = {"graph", "num_threads", "num_runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs"}
NEXT_STEP = "edgekd targets setup {name} --from FOLDER brings another one"
_KIND = Kind(name="benchmark_model", answer=ANSWER)
_PUBLISHED = "android_aarch64_benchmark_model"
_LOOK = f"""{SECTION}
s arch uname -m
s android getprop ro.build.version.release
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A benchmark_model on a target.

    Attributes:
        path: There.
        knows: Flags that it lists.
        xnnpack: Whether that delegate may take operators.
    """

    path: str
    sha256: str
    knows: frozenset[str]
    xnnpack: bool = True

    @property
    def flags(self) -> Mapping[str, str]:
        """Flags that it knows of those that tell more: what delegates took and its log rounds; or XNNPACK off."""
        wanted = {
            "use_xnnpack": "true",
            "export_model_runtime_info": "true",
            "model_runtime_info_output_file": RUNTIME_INFO,
            "result_file_path": RESULT,
        }
        known = {name: value for name, value in wanted.items() if name in self.knows}
        return known if self.xnnpack else {**known, "use_xnnpack": "false"}

    @property
    def profiling_flags(self) -> Mapping[str, str]:
        """Flags that make it write what each operator takes; LiteRT's, which sums up one inference, has none."""
        file = {"op_profiling_output_mode": "csv", "op_profiling_output_file": OPERATORS}
        if not set(file) <= self.knows:
            file = {"profiling_output_csv_file": OPERATORS}
        grows = "allow_dynamic_profiling_buffer_increase"  # a delegate's operators are not counted beforehand
        if not {"enable_op_profiling", *file} <= self.knows:
            return {}
        return {"enable_op_profiling": "true", **file, **({grows: "true"} if grows in self.knows else {})}


def find_program(transport: Transport, target: Target) -> Program:
    """Find the program of a target: its own `program`, the one that `set_up` puts there, or one on the path.

    Raises:
        TargetError: There is none, it is not the one that the target pins, or it does not answer.
    """
    return _probe(transport, target)


def set_up(transport: Transport, *, target: Target, source: Path | None, keep: Path | None) -> None:
    """Put a program on a target, unless the very same is there, and only in place of one when it answers.

    Args:
        transport: A connection to it.
        target: Says where, if it shall not be the usual place, and which one, by its sha256.
        source: A folder with the program; without one it is downloaded, and must be the one that the target pins.
        keep: A folder that gets a copy of what was downloaded.

    Raises:
        TargetError: It can't be had, is another one, or does not run there.
        ConfigError: Nothing says what a download must be.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        local = (
            choose(source, target, _KIND, _PUBLISHED) if source else _download(transport, target, Path(folder), keep)
        )
        put(transport, target, _KIND, local, probe=lambda path: _probe(transport, target, path))


def _probe(transport: Transport, target: Target, path: str | None = None) -> Program:
    found = find(transport, target, _KIND, path)
    knows = read_flags(found.usage)
    if knows and (unknown := sorted(_NEEDED - knows)):  # the oldest list none
        flags = " ".join(f"--{name}" for name in unknown)
        raise TargetError(
            f"{found.path} does not know {flags}", where=target.name, next_step=NEXT_STEP.format(name=target.name)
        )
    return Program(path=found.path, sha256=found.sha256, knows=knows, xnnpack=target.xnnpack)


def _download(transport: Transport, target: Target, folder: Path, keep: Path | None) -> Path:
    """Download the program of a release for one kind of machine; `put` holds it against the pinned sha256."""
    there = read_sections(ask(transport, target.name, _LOOK))
    kind = _KINDS.get(("Android" if there["android"].strip() else "Linux", there["arch"]))
    offline = f"edgekd targets setup {target.name} --from FOLDER takes a file of yours"
    if kind is None:
        raise TargetError(
            "there is no published benchmark_model for this processor", where=target.name, next_step=offline
        )
    url = f"{_RELEASES}/{_RELEASE}/{kind}/benchmark_model"
    if target.program_sha256 is None:
        raise ConfigError(
            f"nothing says what {url} must be: it is published without a sum",
            where=target.name,
            next_step=f"{offline}; or write the program_sha256 that you trust into the target, then it is downloaded",
        )
    local = folder / "benchmark_model"
    download(url, local, target.name, offline)
    if keep and store.sha256_of(local) == target.program_sha256:
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copy(local, keep)
    return local


def download(url: str, local: Path, where: str, next_step: str) -> None:
    """Download a file.

    Raises:
        TargetError: It can't be had.
    """
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_S) as answer, local.open("wb") as file:  # noqa: S310 - https
            shutil.copyfileobj(answer, file)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer, too
        raise TargetError(f"can't download {url}: {error}", where=where, next_step=next_step) from None
