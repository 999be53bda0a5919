"""Most memory that a loss over a vocabulary takes, beside the head's weights and their gradient: for `causal_lm`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from edgekd.stages.distill.positions import Said, by_rows

POSITIONS, WIDTH = 1024, 8
PROCESS = Path("/proc/self")  # of Linux


def main() -> None:
    """Print bytes."""
    torch.set_num_threads(1)
    vocabulary = int(sys.argv[1])
    torch.manual_seed(0)
    hidden = torch.randn(1, POSITIONS, WIDTH, requires_grad=True)
    student, teacher = torch.randn(vocabulary, WIDTH, requires_grad=True), torch.randn(vocabulary, WIDTH)
    labels, rows = torch.randint(0, vocabulary, (1, POSITIONS)), hidden.detach().flatten(0, 1)

    def judge(own: torch.Tensor, taught: torch.Tensor | None, *_: object) -> Sequence[torch.Tensor]:
        said = own if taught is None else taught
        return [functional.kl_div(own.log_softmax(1), said.log_softmax(1), reduction="batchmean", log_target=True)]

    # What imports took and gave back is no part of it.
    (PROCESS / "clear_refs").write_text("5")
    before = peak()
    (loss,) = by_rows(
        judge,
        [True],
        head=lambda states: states @ student.T,
        hidden=hidden,
        said=Said(rows=lambda span: rows[span] @ teacher.T),
        labels=labels,
        vocabulary=vocabulary,
    )
    loss.backward()  # type: ignore[no-untyped-call]  # as torch's stubs have it
    # The gradient, and one chunk's part of it, come with the head.
    print(peak() - before - 2 * 4 * student.numel())


def peak() -> int:
    """Most memory that was resident since the last time that it was forgotten, in bytes."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


if __name__ == "__main__":
    main()
