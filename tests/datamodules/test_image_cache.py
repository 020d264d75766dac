import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from handgen.datamodules.image_cache import Chunk, Columns, ImageCache, build_cache, cache_key, open_cache
from handgen.errors import UserError

SHAPE = (10, 3, 4, 4)
CHUNKS = [range(0, 4), range(4, 8), range(8, 10)]


class Source:
    """Makes chunks and counts them; stops with an error before chunk number ``stop``."""

    def __init__(self, stop: int = 99) -> None:
        self.made: list[int] = []
        self.stop = stop

    def produce(self, missing: list[range]) -> Iterator[Chunk]:
        for chunk in missing:
            if len(self.made) == self.stop:
                raise KeyboardInterrupt
            self.made.append(chunk.start)
            yield pixels(chunk), {"row": list(chunk)}


def pixels(chunk: range) -> torch.Tensor:
    return torch.tensor(chunk, dtype=torch.uint8)[:, None, None, None].expand(-1, *SHAPE[1:])


def keep_all(images: torch.Tensor, columns: Columns) -> ImageCache:
    return ImageCache(images, columns, {"train": (0, 7), "val": (7, 10)})


def build(folder: Path, source: Source) -> ImageCache:
    return build_cache(folder, SHAPE, CHUNKS, source.produce, keep_all, "test")


def test_build_and_reopen(tmp_path: Path) -> None:
    source = Source()
    build(tmp_path / "a" / "map", source)
    assert source.made == [0, 4, 8]
    cache = build(tmp_path / "a" / "map", source)
    assert source.made == [0, 4, 8]
    assert torch.equal(cache.images, pixels(range(10)))
    assert cache.columns == {"row": list(range(10))}
    assert cache.ranges == {"train": (0, 7), "val": (7, 10)}
    assert sorted(path.name for path in (tmp_path / "a" / "map").iterdir()) == ["images.u8", "index.json"]


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "map", Source(stop=2))
    assert open_cache(tmp_path / "map") is None
    source = Source()
    cache = build(tmp_path / "map", source)
    assert source.made == [8]
    assert torch.equal(cache.images, pixels(range(10)))


def test_a_damaged_chunk_of_an_interrupted_build_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "map", Source(stop=2))
    with (tmp_path / "map.partial" / "all.u8").open("rb+") as file:
        file.write(b"\xff")
    source = Source()
    cache = build(tmp_path / "map", source)
    assert source.made == [0, 8]
    assert torch.equal(cache.images, pixels(range(10)))


@pytest.mark.parametrize("damage", ["truncate", "no index", "broken index", "short column"])
def test_a_map_that_is_not_whole_is_built_again(tmp_path: Path, damage: str) -> None:
    build(tmp_path / "map", Source())
    index = tmp_path / "map" / "index.json"
    if damage == "truncate":
        with (tmp_path / "map" / "images.u8").open("rb+") as file:
            file.truncate(100)
    elif damage == "no index":
        index.unlink()
    elif damage == "broken index":
        index.write_text(index.read_text()[:20])
    else:
        index.write_text(json.dumps({**json.loads(index.read_text()), "columns": {"row": [1]}}))
    assert open_cache(tmp_path / "map") is None
    source = Source()
    assert torch.equal(build(tmp_path / "map", source).images, pixels(range(10)))
    assert source.made == [0, 4, 8]


def test_writing_into_the_images_never_reaches_the_file(tmp_path: Path) -> None:
    build(tmp_path / "map", Source()).images.fill_(77)
    cache = open_cache(tmp_path / "map")
    assert cache is not None
    assert torch.equal(cache.images, pixels(range(10)))


def test_the_key_changes_with_every_setting() -> None:
    settings = {"size": 64, "kinds": ["valid"], "seed": 0}
    keys = {cache_key({**settings, **change}) for change in ({}, {"size": 65}, {"kinds": []}, {"seed": 1})}
    assert len(keys) == 4
    assert cache_key(settings) == cache_key(dict(reversed(settings.items())))


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="HANDGEN_CACHE"):
        build(tmp_path / "file" / "map", Source())
