"""MNIST's files, whole and broken."""

import gzip
from pathlib import Path

import pytest
import torch

from handgen.datamodules.idx_files import read_idx, read_mnist
from handgen.errors import UserError


def idx(values: torch.Tensor) -> bytes:
    head = bytes([0, 0, 8, values.dim()]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return head + values.numpy().tobytes()


def write_mnist(folder: Path, part: str = "t10k", count: int = 6, zipped: bool = True) -> torch.Tensor:
    folder.mkdir(parents=True, exist_ok=True)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
    labels = (torch.arange(count) % 10).to(torch.uint8)
    for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{part}-{kind}-ubyte"
        if zipped:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(idx(values)))
        else:
            path.write_bytes(idx(values))
    return images


@pytest.mark.parametrize("zipped", [True, False])
def test_digits_are_read_with_their_labels(zipped: bool, tmp_path: Path) -> None:
    written = write_mnist(tmp_path, zipped=zipped)
    images, labels = read_mnist(tmp_path)["t10k"]
    assert torch.equal(images, written)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]
    more = write_mnist(tmp_path, "train", 4)
    found = read_mnist(tmp_path)
    assert torch.equal(found["train"][0], more) and torch.equal(found["t10k"][0], written)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0", "no IDX file"),  # floats
        (b"\0\0\x08\x01\0\0\0\x05\x01", "not whole"),
        (b"\0\0\x08\x01\0\0\0\x01\x01\x02", "not whole"),
        (b"\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", "impossible size"),
        (b"\0\0\x08\x02\0\0", "impossible size"),
        (b"\0\0\x08\x01\x20\0\0\0", "impossible size"),  # half a gigabyte
        (b"\0\0\x08\x01\0\0\0\0", "is empty"),
    ],
)
def test_a_broken_file_gets_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_idx(path)
    path.rename(tmp_path / "other")
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(content)[:-3])
    with pytest.raises(UserError, match=r"cannot be read|no IDX file|not whole|impossible"):
        read_idx(path)


def test_an_absent_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no t10k-images-idx3-ubyte in .*mirror"):
        read_mnist(tmp_path)


def test_images_and_labels_that_do_not_belong_together(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(torch.zeros(5, dtype=torch.uint8)))
    with pytest.raises(UserError, match="do not belong together"):
        read_mnist(tmp_path)


def test_a_label_that_is_no_digit_is_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(torch.full((6,), 10, dtype=torch.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="a label of t10k is 10, not a digit"):
        read_mnist(tmp_path)
