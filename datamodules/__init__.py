"""Sources of experience: one file per source, each a LightningDataModule that yields dict batches."""

from handgen.datamodules.hands import HandsDataModule

__all__ = ["HandsDataModule"]
