"""The settings of the hands data module, checked before anything is read or rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handgen.datamodules.augmentation import AUGMENTATIONS
from handgen.errors import UserError, check_at_least

if TYPE_CHECKING:
    from handgen.datamodules.hands import HandsDataModule


def check_settings(data: HandsDataModule) -> None:
    """Refuse settings that cannot work, before anything is built.

    Args:
        data: The data module, its attributes set.

    Raises:
        UserError: Naming the setting and the values that it takes.
    """
    choices = [
        ("dataset", data.source, ("synthetic", "hands11k", "folder")),
        ("on_bad_image", data.on_bad_image, ("skip", "error")),
        ("orientation", data.orientation, ("auto", "up", "down")),
        *(("augment", name, AUGMENTATIONS) for name in data.augment),
    ]
    for name, value, allowed in choices:
        if value not in allowed:
            raise UserError(f"{name}={value!r} is unknown: choose from {', '.join(allowed)}")
    for name, number in (("image_size", data.image_size), ("batch_size", data.batch_size)):
        if number < 1:
            raise UserError(f"{name}={number} must be at least 1")
    check_at_least(0, num_workers=data.num_workers, seed=data.seed)
    for split, count in data.counts.items():
        if not 0 < count < 10**9:
            raise UserError(f"{split}_count={count} must be between 1 and 10**9 - 1")
    if not 0 <= data.margin < 1:
        raise UserError(f"margin={data.margin} must be at least 0 and below 1")
    if data.source == "folder" and not data.folder:
        raise UserError("dataset='folder' needs the setting folder: the path of a folder of images")
    given = [name for name, value in data.filters.items() if value is not None]
    if given and data.source != "hands11k":
        raise UserError(f"{', '.join(given)}: these filters exist for dataset='hands11k' only, not {data.source!r}")
