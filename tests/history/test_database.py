"""The file that gates are kept in: whole or not at all, whoever writes, and never taken for what it is not."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.errors import StoreError
from edgekd.history import append, database, read
from tests.history.gates import figure, gate, unbudgeted

ROOT = Path(__file__).parents[2]
FIGURES = 300
# Adds gates of many figures, as fast as it can, and says so.
WRITER = f"""
import sys
from pathlib import Path
from edgekd.history import append
from tests.history.gates import figure, gate
name, count = sys.argv[2], int(sys.argv[3])
for number in range(count):
    figures = (figure(model=f"{{name}}-{{i}}") for i in range({FIGURES}))
    added = gate(number, *figures, run=name, fingerprint=str(number))
    append(Path(sys.argv[1]), added)
    print(number, flush=True)
"""


def writer(file: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file), name, str(count)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def test_what_goes_in_comes_out_in_the_order_it_came(file: Path) -> None:
    gates = [
        gate(2, figure(), unbudgeted(0.5, metric="latency", statistic="p50", unit="s")),
        gate(1, figure(None, status="unmeasured", low=None, high=None), status="unmeasured"),  # by a clock that is late
        dataclasses.replace(gate(3), figures=()),
    ]
    assert [append(file, each) for each in gates] == [True] * 3
    assert read(file) == tuple(gates)


def test_other_programs_can_read_it(file: Path) -> None:
    append(file, gate(1, figure(), figure(1.0, metric="arena_size")))
    with sqlite3.connect(file) as connection:
        query = 'SELECT run, metric, observed, "limit" FROM gates JOIN figures ON gates.id = gate ORDER BY metric'
        assert connection.execute(query).fetchall() == [
            ("try-1", "arena_size", 1.0, 40_000.0),
            ("try-1", "file_size", 28_800.0, 40_000.0),
        ]
    connection.close()


def test_the_same_gate_again_is_no_other_but_one_that_comes_back_is(file: Path) -> None:
    first, second = gate(1), gate(2)
    assert append(file, first)
    assert not append(file, dataclasses.replace(first, gated_at="2027-01-01T00:00:00Z", commit="other"))
    assert append(file, second)
    assert append(file, first)
    other = dataclasses.replace(first, run="try-2")  # runs that take turns don't push each other out
    assert [append(file, each) for each in (other, first, other)] == [True, False, False]
    assert [each.fingerprint for each in read(file)] == ["f1", "f2", "f1", "f1"]


def test_the_last_of_each_recipe_and_of_one(file: Path) -> None:
    for number in range(5):
        append(file, gate(number))
        append(file, gate(number, recipe="ecg"))
    assert [(each.recipe, each.fingerprint) for each in read(file, last=2)] == [
        ("digits", "f3"),
        ("ecg", "f3"),
        ("digits", "f4"),
        ("ecg", "f4"),
    ]
    assert [each.fingerprint for each in read(file, recipe="ecg", last=1)] == ["f4"]
    assert read(file, recipe="no' OR 1=1 --") == ()


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=30))
def test_any_name_is_kept_as_far_as_it_can_be_printed(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    file = tmp_path_factory.mktemp("names") / "history.sqlite"
    append(file, gate(1, figure(model=name), run=name, recipe=f"a{name}"))
    (found,) = read(file, recipe=f"a{name}")
    assert len(found.run) == len(name)
    assert all(is_ == was or not was.isprintable() for is_, was in zip(found.run, name, strict=True))
    assert (found.run + found.figures[0].model).isprintable()


def test_a_path_may_hold_what_means_something_in_a_uri(tmp_path: Path) -> None:
    file = tmp_path / "a?mode=memory#b%20 c" / "history.sqlite"
    append(file, gate(1))
    assert file.is_file()
    assert len(read(file)) == 1


def test_several_processes_add_at_the_same_time_and_nothing_is_lost(file: Path) -> None:
    writers = [writer(file, f"run-{number}", 8) for number in range(4)]
    assert [process.wait(60) for process in writers] == [0] * 4
    for process in writers:
        assert process.stdout
        process.stdout.close()
    gates = read(file)
    assert sorted((each.run, int(each.fingerprint)) for each in gates) == [
        (f"run-{number}", each) for number in range(4) for each in range(8)
    ]
    assert {len(each.figures) for each in gates} == {FIGURES}


@pytest.mark.parametrize("delay_s", [0.0, 0.005])
def test_what_a_killed_process_leaves_is_whole(file: Path, delay_s: float) -> None:
    done = 0
    for attempt in range(2):
        with writer(file, f"run-{attempt}", 10_000) as process:
            assert process.stdout
            for _ in range(3):
                process.stdout.readline()
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            done += 3 + len(process.stdout.readlines())
        gates = read(file)
        assert {len(each.figures) for each in gates} == {FIGURES}
        assert done <= len(gates) <= done + attempt + 1  # of each, one more may be in than was said
    assert append(file, gate(1))
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_one_that_was_killed_before_its_first_gate_leaves_an_empty_history(file: Path) -> None:
    file.touch()
    assert read(file) == ()
    assert append(file, gate(1))


def test_a_file_that_others_keep_busy_is_given_up(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(file, gate(1))
    monkeypatch.setattr(database, "_PATIENCE_S", 0.05)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        append(file, gate(2))
    assert len(read(file)) == 1
    holder.close()
    assert append(file, gate(2))


def foreign(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def ours(file: Path, *statements: str) -> None:
    append(file, gate(1))
    foreign(file, *statements)


def damaged(file: Path) -> None:
    append(file, gate(1, *[figure(model=f"{number}" * 50) for number in range(200)]))
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)


VIEW_WITHOUT_END = (
    f"PRAGMA application_id = {0x65646B64}",
    "PRAGMA user_version = 1",
    "CREATE VIEW gates AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "otherwise no file"),
        (os.mkfifo, "otherwise no file"),
        (lambda file: file.write_text("not a database\n" * 100), "file is not a database"),
        (damaged, "malformed"),
        (lambda file: foreign(file, "CREATE TABLE cookies (id)"), "no history of edgekd"),
        (lambda file: foreign(file, "PRAGMA user_version = 7"), "no history of edgekd"),
        (lambda file: foreign(file, *VIEW_WITHOUT_END), "no history of edgekd"),
        (lambda file: ours(file, "PRAGMA user_version = 9"), "a history of schema 9"),
        (lambda file: ours(file, "DROP TABLE figures"), "no such table: figures"),
        (lambda file: ours(file, "UPDATE gates SET fingerprint = zeroblob(9000000)"), "too big"),
    ],
    ids=["folder", "pipe", "text", "damaged", "foreign", "foreign-empty", "view", "newer", "part", "huge"],
)
def test_what_is_no_history_is_refused_and_left_as_it_is(file: Path, make: Callable[[Path], Any], words: str) -> None:
    make(file)
    before = file.read_bytes() if file.is_file() else None
    for action in (lambda: read(file), lambda: append(file, gate(2))):
        with pytest.raises(StoreError, match=words) as caught:
            action()
        assert str(file) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    assert (file.read_bytes() if file.is_file() else None) == before


def test_numbers_that_are_none_are_left_out(file: Path) -> None:
    append(file, gate(1, figure(1.0), figure(math.inf, model="b")))
    foreign(file, "UPDATE figures SET observed = 'much' WHERE model = 'student.tflite'")
    assert [each.observed for each in read(file)[0].figures] == [None, None]


def test_where_there_is_none_and_where_none_can_be(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no history here"):
        read(tmp_path / "history.sqlite")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't write it"):
        append(tmp_path / "file" / "history.sqlite", gate(1))
    with pytest.raises(StoreError, match="can't read it: File name too long"):
        read(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_still_read(file: Path) -> None:
    append(file, gate(1))
    file.chmod(0o444)
    assert len(read(file)) == 1
    with pytest.raises(StoreError, match="readonly"):
        append(file, gate(2))


def test_an_older_schema_is_brought_up_to_date_by_the_next_gate(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(file, gate(1))
    newer = (*database._MIGRATIONS, ("ALTER TABLE gates ADD COLUMN baseline TEXT NOT NULL DEFAULT ''",))
    monkeypatch.setattr(database, "_MIGRATIONS", newer)
    with pytest.raises(StoreError, match="a history of schema 1; this edgekd reads 2"):
        read(file)
    assert append(file, gate(2))
    assert [each.fingerprint for each in read(file)] == ["f1", "f2"]
    monkeypatch.undo()
    with pytest.raises(StoreError, match="a history of schema 2; this edgekd knows 1"):
        append(file, gate(3))
