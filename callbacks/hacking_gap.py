"""Watches whether the tuner pleases its judge or draws better hands: the reward-hacking gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.anatomy.evaluation import Judge, judge_images
from handgen.anatomy.judges import load_judges
from handgen.errors import UserError, check_at_least
from handgen.loggers import log_metrics
from handgen.random_state import seeded


class HackingGap(Callback):
    """Grades fresh samples during training, by the judge that gives reward and by those that give none.

    Logs ``eval/valid_rate/JUDGE`` for each judge and ``eval/gap/JUDGE``, the rewarded judge's rate minus that of each
    other: a gap that grows while the reward grows is a judge that is being deceived (Gao et al. 2023,
    arXiv:2210.10760). When training ends it draws ``hacking_gap.png`` in the run folder.

    Args:
        samples: images graded each time.
        every_n_updates: updates between two gradings; the first is before training.
        seed: of the samples, the same each time.
    """

    def __init__(self, samples: int = 250, every_n_updates: int = 256, seed: int = 1) -> None:
        check_at_least(1, samples=samples, every_n_updates=every_n_updates)
        self.samples, self.every_n_updates, self.seed = samples, every_n_updates, seed
        self.curve: list[dict[str, float]] = []
        self._graded = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Grade the untrained tuner."""
        if not self.curve:
            self._grade(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Grade every so many updates."""
        if trainer.global_step % self.every_n_updates == 0 and trainer.global_step != self._graded:
            self._grade(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the figure."""
        if self.curve and trainer.is_global_zero:
            draw_gap(self.curve, rewarded_judge(pl_module), Path(trainer.default_root_dir) / "hacking_gap.png")

    def _grade(self, trainer: Trainer, module: Any) -> None:
        """Draw, judge and log; the random numbers of training stay as they are."""
        self._graded = trainer.global_step
        judges = load_judges()
        for judge in judges.values():
            if isinstance(judge, torch.nn.Module):
                judge.to(module.device).eval()
        with seeded(self.seed, module.device), torch.no_grad():
            images = (module.sample(self.samples, seed=self.seed) * 255).round().to(torch.uint8).cpu()
        point = gap(images, judges, rewarded_judge(module))
        self.curve.append({"updates": float(trainer.global_step), **point})
        log_metrics(trainer, {f"eval/{name}": value for name, value in point.items()})

    def state_dict(self) -> dict[str, Any]:
        """The curve so far, for a resumed run."""
        return {"curve": [dict(point) for point in self.curve], "graded": self._graded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved curve."""
        self.curve, self._graded = list(state_dict["curve"]), state_dict["graded"]


def rewarded_judge(module: LightningModule) -> str:
    """The judge that gives a method its reward.

    Raises:
        UserError: if it is rewarded by none, or by several.
    """
    found: tuple[str, ...] = getattr(module, "rewarded_judges", ())
    if len(found) != 1:
        raise UserError(f"HackingGap watches a method that one judge rewards, not {type(module).__name__}")
    return found[0]


def gap(images: torch.Tensor, judges: Mapping[str, Judge], rewarded: str) -> dict[str, float]:
    """Valid rates of all judges, and by how much the rewarded one exceeds each other.

    Args:
        images: uint8 (N, 3, H, W).
        judges: by name.
        rewarded: the one that gives reward.
    """
    rates = {name: float(valid.float().mean()) for name, valid in judge_images(images, judges).items()}
    found = {f"valid_rate/{name}": rate for name, rate in rates.items()}
    return found | {f"gap/{name}": rates[rewarded] - rate for name, rate in rates.items() if name != rewarded}


def draw_gap(curve: Sequence[Mapping[str, float]], rewarded: str, path: Path) -> Path:
    """Draw valid rates over updates, the rewarded judge's dashed.

    Args:
        curve: points with ``updates`` and ``valid_rate/JUDGE``.
        rewarded: the judge that gives reward.
        path: of the PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name in sorted(key for key in curve[0] if key.startswith("valid_rate/")):
        judge = name.removeprefix("valid_rate/")
        label = f"{judge} (gives reward)" if judge == rewarded else judge
        style = "--" if judge == rewarded else "-"
        axes.plot([p["updates"] for p in curve], [p[name] for p in curve], style, marker=".", label=label)
    axes.set(xlabel="updates", ylabel="valid rate of fresh samples", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
