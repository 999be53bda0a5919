"""The part of `edgekd gate` that tells the verdict to CI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgekd.cli.group import EXIT_USER, exit_code

if TYPE_CHECKING:
    from edgekd.records import Budget, Place, Release, Run

F = TypeVar("F", bound=Callable[..., Any])


def announce_options(function: F) -> F:
    """Add the options `--write` and `--annotate`."""
    write = click.option(
        "--write",
        "wishes",
        multiple=True,
        metavar="FORMAT=FILE",
        help="Also write the verdict as junit, sarif, markdown, openmetrics (GitLab's metrics report), badge (SVG) or "
        "github (annotations); pass or not.",
    )
    annotate = click.option(
        "--annotate",
        is_flag=True,
        help="Also print GitHub's annotations, to stderr, and add to $GITHUB_STEP_SUMMARY, if that is set.",
    )
    return write(annotate(function))


def announce(
    wishes: Sequence[tuple[str, Path]],
    *,
    annotate: bool,
    release: Release,
    run: Run,
    places: Mapping[Budget, Place],
) -> int:
    """Tell a verdict to CI, and give the exit code: that of the verdict, unless it is a pass that could not be told."""
    from edgekd.pipeline import announcing

    errors = announcing.announce(wishes, release=release, run=run, places=places)
    if annotate:
        # GitHub reads both streams; stdout may be JSON.
        click.echo(announcing.announcement("github", release=release, run=run, places=places), nl=False, err=True)
        errors += filter(None, [announcing.add_to_step_summary(release, run)])
    for error in errors:
        click.echo(f"error: {error}", err=True)
    return exit_code(release) or (EXIT_USER if errors else 0)
