from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from handgen.callbacks import hand_evaluation
from handgen.callbacks.hand_evaluation import HandEvaluation, summary_table
from handgen.callbacks.results import ResultWriter
from handgen.errors import UserError
from handgen.results import read_records


class FakeJudge(nn.Module):
    """Accepts pictures brighter than a threshold."""

    sensitivity, specificity = 0.95, 0.95

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold))

    def verdict(self, image: Tensor) -> SimpleNamespace:
        return SimpleNamespace(valid=image.flatten(1).mean(dim=1) > self.threshold)

    def features(self, image: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(image, 3).flatten(1)


class NormalSampler:
    def __init__(self, mean: float) -> None:
        self.mean = mean

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + torch.randn(count, 4, generator=generator)


class TrainedSampler(NormalSampler):
    """Needs gradients to be fitted, as a second stage does, and decodes on its own to choose."""

    decoder_calls = 0

    def __init__(self) -> None:
        weight = torch.zeros(1, requires_grad=True)
        (weight - 1).square().sum().backward()
        super().__init__(float(-weight.grad) / 2)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        self.decoder_calls += 3 * count
        return super().sample(count, generator)


class TinyModel(LightningModule):
    """Decodes four numbers into a smooth picture."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3 * 16)
        nn.init.zeros_(self.layer.bias)
        nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(0))

    def decode(self, latent: Tensor) -> Tensor:
        coarse = self.layer(latent).view(-1, 3, 4, 4).sigmoid()
        return nn.functional.interpolate(coarse, 16)

    def reconstruct(self, image: Tensor) -> Tensor:
        return nn.functional.interpolate(nn.functional.avg_pool2d(image, 4), 16)

    def samplers(
        self, train_images: Tensor, names: Iterable[str] = ("prior", "second_stage")
    ) -> dict[str, NormalSampler]:
        assert train_images.dtype == torch.uint8
        made = {"prior": lambda: NormalSampler(0.0), "second_stage": TrainedSampler}
        return {name: made[name]() for name in names if name in made}

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("eval/loss", batch.float().mean())


class Pictures(LightningDataModule):
    dataset = "synthetic"

    def images(self, split: str) -> Tensor:
        generator = torch.Generator().manual_seed({"train": 0, "val": 1, "test": 2}[split])
        count = 200 if split == "train" else 60
        coarse = torch.rand(count, 3, 4, 4, generator=generator)
        return (nn.functional.interpolate(coarse, 16) * 255).to(torch.uint8)

    def test_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(self.images("test"), batch_size=30)


@pytest.fixture(autouse=True)
def fake_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    judges = {"judge_a": FakeJudge(0.48), "judge_b": FakeJudge(0.5), "geometric": FakeJudge(0.45)}
    monkeypatch.setattr(hand_evaluation, "load_judges", lambda: judges)


def evaluate(folder: Path, *callbacks: Callback, **settings: Any) -> HandEvaluation:
    evaluation = HandEvaluation(samples=50, **settings)
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[evaluation, *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.test(TinyModel(), datamodule=Pictures(), verbose=False)
    return evaluation


def test_a_test_run_leaves_records_sheets_metrics_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(tmp_path, ResultWriter("vae", 3, "handgen test"))
    variants = ("prior", "second_stage", "reconstruction", "heldout")
    for variant in variants:
        assert (tmp_path / f"contact_sheet_{variant}.png").stat().st_size > 2000
        assert (tmp_path / f"neighbours_{variant}.png").stat().st_size > 2000
    records = {(r.variant, r.metric): r for r in read_records(tmp_path / "result.json")}
    for variant in variants:
        rate = records[variant, "valid_rate/strictest"]
        assert (rate.experiment, rate.dataset, rate.seeds, rate.n) == ("vae", "synthetic", [3], 50)
        assert rate.low < rate.value < rate.high
        assert (variant, "kid") in records
    header = (tmp_path / "metrics.csv").read_text().partition("\n")[0]
    assert "eval/valid_rate/strictest/second_stage" in header
    printed = capsys.readouterr().out
    assert all(variant in printed for variant in variants)


def test_decoder_calls_count_a_samplers_own(tmp_path: Path) -> None:
    found = {(m.variant, m.metric): m.value for m in evaluate(tmp_path).measurements}
    for variant, calls in (("prior", 50), ("second_stage", 200)):
        valid = 50 * found[variant, "valid_rate/strictest"]
        assert found[variant, "decoder_calls_per_valid"] == pytest.approx(calls / valid)
    assert ("heldout", "decoder_calls_per_valid") not in found


def test_the_same_seed_draws_the_same_hands(tmp_path: Path) -> None:
    def rates(seed: int) -> list[tuple[str, float]]:
        measured = evaluate(tmp_path, seed=seed, samplers=["prior"]).measurements
        return [(m.metric, m.value) for m in measured if m.variant == "prior" and m.metric != "seconds_per_valid"]

    first = rates(0)
    assert rates(0) == first
    assert rates(1) != first


def test_samplers_can_be_chosen(tmp_path: Path) -> None:
    variants = {m.variant for m in evaluate(tmp_path, samplers=["prior"]).measurements}
    assert variants == {"prior", "reconstruction", "heldout"}
    assert not (tmp_path / "contact_sheet_second_stage.png").exists()
    with pytest.raises(UserError, match=r"unknown samplers \['gmmm'\]"):
        evaluate(tmp_path, samplers=["gmmm"])


def test_no_images_is_a_clear_error(tmp_path: Path) -> None:
    trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False)
    trainer.datamodule = SimpleNamespace()
    with pytest.raises(UserError, match="datamodule with images"):
        HandEvaluation().on_test_end(trainer, TinyModel())


def test_the_table_has_the_samplers_before_the_ceilings(tmp_path: Path) -> None:
    table = summary_table(evaluate(tmp_path).measurements, "synthetic")
    assert list(table.columns[0].cells) == ["prior", "second_stage", "reconstruction", "heldout"]
    assert all(cell.endswith(")") for cell in table.columns[1].cells)
