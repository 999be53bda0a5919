"""Subcommands that look after teachers' caches."""

from __future__ import annotations

from pathlib import Path

import click

from edgekd.cli.group import EXIT_REFUSED, Command, Group, edgekd, json_option, out_option, set_option


@edgekd.group(
    cls=Group,
    epilog="""
    edgekd cache list
    edgekd cache verify
    edgekd cache verify --recipe digits
    edgekd cache clear --all
    """,
)
def cache() -> None:
    """Look after what teachers said: their logits, kept for later runs."""


@cache.command(
    "list",
    cls=Command,
    epilog="""
    edgekd cache list
    EDGEKD_CACHE=/mnt/big edgekd cache list --json
    """,
)
@json_option
def list_caches(as_json: bool) -> int:
    """List caches: teacher, data, samples, views, logits kept, size, and whether they are complete."""
    from edgekd.cache import TeacherCache, cache_folders, cache_root
    from edgekd.console import Terminal, plain_table
    from edgekd.units import human

    terminal = Terminal(as_json=as_json)
    caches = [TeacherCache.load(folder) for folder in cache_folders()]
    rows = [
        (
            each.folder.name,
            each.manifest.teacher,
            each.manifest.data,
            f"{each.manifest.samples:,}",
            str(each.manifest.views),
            f"{each.manifest.kept} of {each.manifest.classes}",
            human(each.disk_bytes, "B"),
            "complete" if each.is_complete else "unfinished",
        )
        for each in caches
    ]
    terminal.print(plain_table(("name", "teacher", "data", "samples", "views", "logits", "size", "state"), rows))
    terminal.print(f"{len(caches)} caches in {cache_root()}, {human(sum(each.disk_bytes for each in caches), 'B')}")
    terminal.result(
        [
            {
                "name": each.folder.name,
                "size_bytes": each.disk_bytes,
                "complete": each.is_complete,
                **vars(each.manifest),
            }
            for each in caches
        ]
    )
    return 0


@cache.command(
    cls=Command,
    epilog="""
    edgekd cache verify
    edgekd cache verify teacher-0-digits-0123456789ab
    edgekd cache verify --recipe digits
    """,
)
@click.argument("names", metavar="[NAME | FOLDER]...", nargs=-1)
@click.option("--recipe", help="Also ask its teachers again about random samples; its run must be there.")
@out_option
@set_option
@json_option
def verify(
    names: tuple[str, ...], recipe: str | None, out: Path | None, overrides: tuple[str, ...], as_json: bool
) -> int:
    """Check every byte of caches, and what teachers would say now; exit 1 when one is damaged."""
    from edgekd.cache import TeacherCache
    from edgekd.console import Terminal, plain_table
    from edgekd.errors import EdgekdError

    terminal = Terminal(as_json=as_json)
    rows: list[tuple[str, str]] = []
    if recipe:
        from edgekd import pipeline
        from edgekd.config import load_recipe

        loaded = load_recipe(recipe, overrides)
        replayed = pipeline.replay_caches(loaded, out or Path("runs") / loaded.recipe.name)
        rows += [(name, f"replayed: largest difference of a logit {error:.3g}") for name, error in replayed]
    for folder in _folders(names) if names or not recipe else ():
        try:
            TeacherCache.load(folder).check()
            rows.append((folder.name, "ok"))
        except EdgekdError as error:
            rows.append((folder.name, f"damaged: {error}"))
    terminal.print(plain_table(("name", "state"), rows))
    terminal.result(dict(rows))
    return EXIT_REFUSED if any(state.startswith("damaged") for _, state in rows) else 0


@cache.command(
    cls=Command,
    epilog="""
    edgekd cache clear teacher-0-digits-0123456789ab
    edgekd cache clear my-cache/teacher-0
    edgekd cache clear --all
    """,
)
@click.argument("names", metavar="[NAME | FOLDER]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Delete all of them.")
@json_option
def clear(names: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Delete caches; later runs ask the teachers again."""
    from edgekd.cache import clear_cache
    from edgekd.console import Terminal
    from edgekd.units import human

    if bool(names) == everything:
        raise click.UsageError("give names (see `edgekd cache list`), or --all")
    terminal = Terminal(as_json=as_json)
    freed = {folder.name: clear_cache(folder) for folder in _folders(names)}
    terminal.print(f"{len(freed)} caches deleted, {human(sum(freed.values()), 'B')} free")
    terminal.result(freed)
    return 0


def _folders(names: tuple[str, ...]) -> list[Path]:
    """Find caches by name or folder; all of those in the common place without one.

    Raises:
        StoreError: No such cache.
    """
    from edgekd.cache import cache_folders, exists
    from edgekd.errors import StoreError, did_you_mean

    known = {folder.name: folder for folder in cache_folders()}
    # A `cache_folder` of a recipe may lie anywhere.
    known |= {name: Path(name) for name in names if name not in known and exists(Path(name))}
    for name in names:
        if name not in known:
            raise StoreError(
                f"no cache '{name}'",
                allowed=", ".join(known) or "none: there are no caches",
                next_step=did_you_mean(name, known),
            )
    return [known[name] for name in names or known]
