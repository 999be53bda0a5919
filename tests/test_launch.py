"""What a launcher tells this process by its environment."""

from __future__ import annotations

import pytest

from edgekd.launch import process_count, process_rank


def test_alone_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (process_count(), process_rank()) == (1, 0)


def test_one_of_several_as_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    assert (process_count(), process_rank()) == (4, 3)
