"""The lines of `metrics.jsonl` as TensorBoard events, where tensorboardX is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pwact.errors import PwactError


class TensorBoard:
    """Events in `tensorboard/` of a run folder, one series a network: `pip install tensorboardX`.

    Args:
        folder: the run.
        step: events of later steps, written before a kill, are marked as void.

    Raises:
        PwactError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, step: int):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise PwactError(
                "tensorboardX, which writes TensorBoard's files", str(error), "pip install tensorboardX"
            ) from error
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add the numbers of these lines."""
        for line in lines:
            label = {"step", "epoch", "network", "seed", "split"}
            for name, value in line.items():
                if name not in label and value is not None:
                    tag = f"{name}/{line['split']}/seed {line['seed']} ({line['network']})"
                    self.writer.add_scalar(tag, value, line["step"])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
