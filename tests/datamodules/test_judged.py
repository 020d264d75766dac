"""Labelled hands for the judges: labels are the renderer's, halves do not meet, photographs are balanced."""

from types import SimpleNamespace

import pytest
import torch

from handgen.anatomy import KINDS, render_hands
from handgen.anatomy.judge_reliability import HEALTHY, PLANTED
from handgen.datamodules.judged import MIXED_KINDS, JudgedHandsDataModule
from handgen.datamodules.planted import PlantedPhotographs
from handgen.datamodules.rendered import FIRST_INDEX
from handgen.errors import UserError

COUNTS = {"train_count": 24, "val_count": 6, "test_count": 6}


def judged(**settings) -> JudgedHandsDataModule:
    return JudgedHandsDataModule(batch_size=4, photographs="no", **COUNTS, **settings)


def test_labels_are_the_renderers() -> None:
    hands = judged(seed=3).hands("val")
    truth = render_hands(torch.arange(6) + FIRST_INDEX["val"], seed=3, size=64, kinds=MIXED_KINDS)
    batch = hands.__getitems__(range(6))
    assert torch.equal(batch["image"], truth.image)
    assert torch.equal(batch["mask"], truth.mask)
    assert torch.equal(batch["kind"], truth.kind)
    assert torch.equal(batch["visible"], truth.visible)
    assert torch.allclose(batch["keypoints"], truth.keypoints, atol=1e-4)
    assert torch.allclose(batch["landmarks"], truth.landmarks, atol=1e-4)
    assert torch.equal(batch["landmark_class"], truth.landmark_class)


def test_halves_share_no_hand() -> None:
    first, second = (judged(half=half).hands("train").pixels for half in ("first", "second"))
    assert len(first) == len(second) == 12
    assert not any(torch.equal(a, b) for a in first for b in second)


def test_batches_are_float_on_the_device_and_whole() -> None:
    data = judged()
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["image"].dtype == torch.float32
    assert float(batch["image"].max()) <= 1
    assert len(data.train_dataloader()) == 6


def test_looking_leaves_the_random_numbers_of_training_alone() -> None:
    data = judged()
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader(), *data.test_dataloader()):
        assert len(list(loader)) >= 1
    assert torch.equal(torch.get_rng_state(), before)


def test_two_fifths_are_valid() -> None:
    assert MIXED_KINDS.count("valid") / len(MIXED_KINDS) == 0.4
    assert set(MIXED_KINDS) == set(KINDS)


def photographs(names: tuple[str, ...] = PLANTED) -> PlantedPhotographs:
    """Three subjects, one photograph of each kind; its grey value tells its row."""
    planted = torch.tensor([PLANTED.index(name) for name in names] * 3)
    count = len(planted)
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 4, 8, 8).contiguous()
    return PlantedPhotographs(pixels, planted, torch.arange(count) // len(names))


def test_photographs_alternate_healthy_and_malformed() -> None:
    data = photographs()
    batch = data.balanced(torch.arange(6))
    assert batch["_valid"].tolist() == [True, False] * 3
    assert torch.equal(data.planted[batch["image"][:, 0, 0, 0].long()], batch["_planted"])
    healthy = torch.isin(batch["_planted"], torch.tensor([PLANTED.index(name) for name in HEALTHY]))
    assert torch.equal(healthy, batch["_valid"])
    assert torch.equal(data.balanced(torch.arange(6))["image"], batch["image"])


def test_kinds_of_photographs_are_balanced() -> None:
    numbers = torch.randperm(12_000, generator=torch.Generator().manual_seed(0))[:4_800]
    batch = photographs((*PLANTED, "fused", "fused", "fused")).balanced(numbers)
    share = torch.bincount(batch["_planted"], minlength=len(PLANTED)) / len(numbers)
    for name, expected in zip(PLANTED, (1 / 4, 1 / 6, 1 / 6, 1 / 8, 1 / 6, 1 / 8), strict=True):
        assert abs(float(share[PLANTED.index(name)]) - expected) < 0.02, name


def test_only_intact_photographs_are_all_valid() -> None:
    batch = photographs(("intact",)).balanced(torch.arange(6))
    assert batch["_valid"].all()
    assert not batch["_planted"].any()


def test_halves_of_photographs_share_no_subject() -> None:
    first, second = photographs().half("first"), photographs().half("second")
    assert not set(first.subject.tolist()) & set(second.subject.tolist())
    assert len(first) + len(second) == 3 * len(PLANTED)


def test_every_process_sees_all_held_out_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    data = judged()
    monkeypatch.setattr(data, "trainer", SimpleNamespace(world_size=2, global_rank=1))
    assert sum(len(batch["kind"]) for batch in data.val_dataloader()) == 6
    assert sum(len(batch["kind"]) for batch in data.train_dataloader()) == 12


def test_images_too_small_for_judges_are_refused() -> None:
    with pytest.raises(UserError, match="image_size must be at least 64"):
        judged(image_size=32)
