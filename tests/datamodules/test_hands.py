import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import handgen.anatomy
from handgen.datamodules import HandsDataModule, rendered
from handgen.datamodules.augmentation import BatchAugmentation
from handgen.errors import UserError

COUNTS = {"train_count": 10, "val_count": 4, "test_count": 6}


def folder_data(root: Path, **settings: Any) -> HandsDataModule:
    data = HandsDataModule("folder", folder=str(root), image_size=32, batch_size=4, shuffle_seed=3, **settings)
    data.setup()
    return data


class Recorder(LightningModule):
    """Notes what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[list[int], float]] = []

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        assert batch["image"].dtype == torch.float32
        assert 0 <= batch["image"].min() <= batch["image"].max() <= 1
        self.seen.append((batch["index"].tolist(), batch["image"].sum().item()))
        return self.weight * batch["image"].mean()

    def validation_step(self, batch: dict[str, torch.Tensor]) -> None:
        assert batch["image"].max() <= 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: HandsDataModule, folder: Path, ckpt: Path | None = None, **settings: Any) -> Recorder:
    module = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=1,
        callbacks=[ModelCheckpoint(folder, filename="{step}", every_n_train_steps=3, save_top_k=-1)],
        **settings,
    )
    trainer.fit(module, data, ckpt_path=ckpt, weights_only=True)
    return module


def test_synthetic_splits_are_disjoint_and_do_not_depend_on_each_others_size() -> None:
    small = HandsDataModule(image_size=16, **COUNTS)
    small.setup()
    large = HandsDataModule(image_size=16, **{**COUNTS, "train_count": 20})
    large.setup()
    assert small.dataset == "synthetic"
    assert [small.images(split).shape for split in ("train", "val", "test")] == [
        (10, 3, 16, 16),
        (4, 3, 16, 16),
        (6, 3, 16, 16),
    ]
    assert torch.equal(large.images("test"), small.images("test"))
    assert torch.equal(large.images("train")[:10], small.images("train"))
    indices = [set(small.metadata(split)["index"]) for split in ("train", "val", "test")]
    assert len(set.union(*indices)) == 20


def test_synthetic_images_and_metadata_are_the_renderers() -> None:
    data = HandsDataModule(image_size=16, seed=5, kinds=("valid", "missing"), upright=False, **COUNTS)
    data.setup()
    index = torch.tensor(data.metadata("val")["index"])
    hands = handgen.anatomy.render_hands(index, seed=5, size=16, kinds=("valid", "missing"))
    assert torch.equal(data.images("val"), hands.image)
    assert data.metadata("val")["digits"] == hands.digits.tolist()
    assert data.metadata("val")["side"] == [("right", "left")[side] for side in hands.side.tolist()]
    assert data.metadata("val")["kind"] == [handgen.anatomy.KINDS[kind] for kind in hands.kind.tolist()]


def test_several_processes_render_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    one = HandsDataModule(image_size=16, **COUNTS)
    one.setup()
    monkeypatch.setattr(rendered, "CHUNK", 4)
    several = HandsDataModule(image_size=16, **{**COUNTS, "val_count": 5})
    several.setup()
    assert torch.equal(one.images("train"), several.images("train"))


def test_the_memory_map_is_reused_and_a_changed_setting_or_renderer_gives_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for settings in ({}, {}, {"seed": 1}, {"kinds": ("valid", "extra")}, {"image_size": 32}):
        defaults = {"image_size": 16, "cache_dir": str(tmp_path / "maps"), **COUNTS}
        HandsDataModule(**{**defaults, **settings}).setup()
    assert len([path for path in (tmp_path / "maps").iterdir() if path.is_dir()]) == 4
    monkeypatch.setattr(handgen.anatomy, "RENDERER_VERSION", "another")
    HandsDataModule(image_size=16, cache_dir=str(tmp_path / "maps"), **COUNTS).setup()
    assert len([path for path in (tmp_path / "maps").iterdir() if path.is_dir()]) == 5


def test_a_changed_file_or_preprocessing_gives_another_map(make_folder: Any, tmp_path: Path) -> None:
    root = make_folder()
    first = folder_data(root).images("train").clone()
    picture = root / "0" / "000.png"
    picture.write_bytes((root / "1" / "001.png").read_bytes())
    os.utime(picture, ns=(1, 1))
    folder_data(root)
    wide = folder_data(root, margin=0.5).images("train")
    assert not torch.equal(first, wide)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 3


def test_batches_are_whole_seeded_and_cover_an_epoch_once(make_folder: Any) -> None:
    data = folder_data(make_folder(60), augment=[])
    loader = data.train_dataloader()
    orders = []
    for epoch in (0, 0, 1):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert {tuple(batch["image"].shape) for batch in batches} == {(4, 3, 32, 32)}
        assert {batch["image"].dtype for batch in batches} == {torch.uint8}
        assert all(torch.equal(batch["image"], data.images("train")[batch["index"]]) for batch in batches)
        orders.append(torch.cat([batch["index"] for batch in batches]).tolist())
        assert len(set(orders[-1])) == len(orders[-1]) == len(data.images("train")) // 4 * 4
    assert orders[0] == orders[1] != orders[2]
    assert torch.cat([batch["index"] for batch in data.test_dataloader()]).tolist() == list(
        range(len(data.images("test")))
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_differs_between_images_and_epochs_and_repeats_with_the_seed(
    make_folder: Any, workers: int
) -> None:
    loader = folder_data(make_folder(60), augment=["affine"], num_workers=workers).train_dataloader()
    runs = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        runs.append(torch.cat([batch["image"] for batch in loader]))
    assert len(torch.unique(runs[0].flatten(1), dim=0)) == len(runs[0])  # all pictures of the folder are the same
    assert not torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


def test_looking_leaves_the_random_numbers_of_training_alone(make_folder: Any) -> None:
    data = folder_data(make_folder())
    data.setup()
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        assert len(list(loader)) >= 1
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_change_nothing(make_folder: Any) -> None:
    root = make_folder(60)
    none, two = (list(folder_data(root, num_workers=workers).train_dataloader()) for workers in (0, 2))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(none, two, strict=True))


def test_a_mirrored_image_changes_its_side(make_hands11k: Any) -> None:
    root = make_hands11k(subjects=60)
    data = HandsDataModule("hands11k", data_root=str(root), image_size=32, batch_size=32, augment=["flip"])
    data.setup()
    plain, names = data.images("train"), data.metadata("train")["side"]
    batch = next(iter(data.train_dataloader()))
    mirrored = 0
    for row, index in enumerate(batch["index"].tolist()):
        image, side = batch["image"][row], int(batch["side"][row])
        is_left = names[index] == "left"
        if torch.equal(image, plain[index]):
            assert side == is_left
        else:
            assert torch.equal(image, plain[index].flip(-1))
            assert side == (not is_left)
            mirrored += 1
    assert 4 < mirrored < 28


def test_an_unknown_side_stays_unknown(make_folder: Any) -> None:
    batch = next(iter(folder_data(make_folder(), augment=["flip"]).train_dataloader()))
    assert batch["side"].tolist() == [-1] * 4


def test_affine_moves_little_and_colour_shifts_colours() -> None:
    images = torch.full((8, 3, 32, 32), 250, dtype=torch.uint8)
    images[:, :, 8:24, 8:24] = 100
    moved, _ = BatchAugmentation(["affine"])(images, (1, 2))
    assert moved.dtype == torch.uint8
    assert 0.005 < (moved.float() - images.float()).abs().mean() / 255 < 0.15
    assert moved[:, :, 0].min() > 245  # no black corner
    shifted, _ = BatchAugmentation(["colour"])(images, (1, 2))
    assert shifted.float().mean((1, 2, 3)).std() > 1


def test_the_image_becomes_float_exactly_once() -> None:
    data = HandsDataModule()
    batch = {"image": torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), "index": torch.zeros(1)}
    once = data.on_after_batch_transfer(batch, 0)
    twice = data.on_after_batch_transfer(once, 0)
    assert once["image"].dtype == torch.float32
    assert once["image"].max() == twice["image"].max() == 1
    assert batch["image"].dtype == torch.uint8


@pytest.mark.parametrize("step", [3, 6, 12, 15])
def test_a_resumed_run_sees_the_same_batches(make_folder: Any, tmp_path: Path, step: int) -> None:
    root = make_folder(30)  # some epochs end at a checkpoint, others do not
    whole = fit(folder_data(root), tmp_path / "run", max_steps=18)
    ckpt = tmp_path / "run" / f"step={step}.ckpt"
    other_seed = folder_data(root)
    other_seed.shuffle_seed = 99  # the checkpoint's seed counts
    resumed = fit(other_seed, tmp_path / "again", ckpt, max_steps=18)
    assert len(whole.seen) == 18
    assert resumed.seen == whole.seen[step:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "faces"}, "choose from synthetic, hands11k, folder"),
        ({"image_size": 0}, "image_size=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"val_count": 0}, "val_count=0"),
        ({"augment": ["rotate"]}, "choose from flip, affine, colour"),
        ({"on_bad_image": "ignore"}, "choose from skip, error"),
        ({"dataset": "folder"}, "needs the setting folder"),
        ({"aspects": ["palmar right"]}, "filters exist for dataset='hands11k' only"),
        ({"margin": -1.0}, "margin"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HandsDataModule(**settings)


def test_an_unknown_kind_or_split_is_refused() -> None:
    with pytest.raises(UserError, match="valid, missing"):
        HandsDataModule(kinds=("vald",), **COUNTS).setup()
    with pytest.raises(UserError, match="multiple of 16"):
        HandsDataModule(image_size=50, **COUNTS).setup()
    data = HandsDataModule(image_size=16, **COUNTS)
    with pytest.raises(UserError, match="train, val, test"):
        data.images("training")


def test_a_batch_larger_than_the_split_is_refused() -> None:
    data = HandsDataModule(image_size=16, batch_size=64, **COUNTS)
    data.setup()
    with pytest.raises(UserError, match="lower batch_size"):
        data.train_dataloader()


def test_real_photographs_of_hands11k_stand_upright(real_data: Path) -> None:
    data = HandsDataModule("hands11k", data_root=str(real_data), aspects=["palmar right"], accessories=False)
    data.setup()
    count = sum(len(data.images(split)) for split in ("train", "val", "test"))
    rotated = sum(sum(data.metadata(split)["rotated"]) for split in ("train", "val", "test"))
    assert count > 100
    assert rotated == 0
    # Skin at the wrist, background beside the fingertips; the thumb of a right palm is on the right.
    mean = data.images("train").float().mean((0, 1))
    assert mean[-2:, 28:36].mean() < 200 < mean[:3].mean()
    assert mean[36:52, 48:60].mean() < mean[36:52, 4:16].mean()


@pytest.mark.slow
def test_real_sign_digits_keep_their_labels(real_data: Path) -> None:
    if not (real_data / "sign_digits").is_dir():
        pytest.skip("HANDGEN_DATA holds no sign_digits/")
    data = HandsDataModule("folder", data_root=str(real_data), folder="sign_digits", image_size=32)
    data.setup()
    assert data.dataset == "sign_digits"
    assert set(data.metadata("train")["label"]) == set("0123456789")
    assert not any(data.metadata("train")["rotated"])
