"""Settings that are out of range or contradict each other, each with one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from stated import settings

from handgen.datamodules.paintings import Paintings
from handgen.errors import UserError
from handgen.painter.checks import check_experience
from handgen.painter.module import Painter
from handgen.paths import experiments_root

SMALL: dict[str, Any] = {"image_size": 16, "width": 16, "discriminator_width": 4}


def check(painter: dict[str, Any], **data: Any) -> None:
    check_experience(Paintings(**data).hparams, Painter(**{**SMALL, **painter}).hparams)


@pytest.mark.parametrize(
    ("painter", "message"),
    [
        ({"minibatches": 0}, "minibatches must be at least 1"),
        ({"most_strokes": 0}, "most_strokes must be at least 1"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"fit_steps": -1}, "fit_steps must be at least 0"),
        ({"paintings_of_a_target": 2}, "conditional"),
        ({"glimpse": 5}, "glimpse must be even"),
        ({"glimpse": 4000}, r"lie in \[0, 16\]"),
        ({"width": 0}, "width must be at least 1"),
        ({"clip": -1.0}, "clip must be positive"),
        ({"trace": 2.0}, "trace must lie in"),
        ({"glimpse": 8, "blind": True}, "nothing to look at"),
    ],
)
def test_of_a_painter(painter: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Painter(**{**SMALL, **painter})


SCENES = {"table": "scene", "channels": 3, "conditional": True, "reward": "l2"}
RANDOM = {"source": "scenes", "fit_updates": 0, "distill_on": "random"}


@pytest.mark.parametrize(
    ("painter", "data", "message"),
    [
        ({}, {"fit_updates": 0}, "need fitted strokes"),
        ({"imitation_weight": 0.1}, {"fit_updates": 0, "distill_updates": 0}, "need fitted strokes"),
        ({}, {"fit_updates": 0, "distill_on": "random", "real": "programs"}, "need fitted strokes"),
        ({"conditional": True}, {"real": "programs"}, "nothing in particular"),
        ({"joint": True, "adversary": "spectral"}, {"fit_updates": 0, "distill_updates": 0}, "need fitted strokes"),
        (SCENES, {}, "scenes need both"),
        ({}, {"source": "scenes"}, "scenes need both"),
        (SCENES, {**RANDOM, "distill_on": "fitted"}, "no strokes to fit"),
        (SCENES, {**RANDOM, "fit_updates": 5}, "no strokes to fit"),
        (SCENES, {**RANDOM, "most_objects": 0}, "most_objects must lie in"),
        ({**SCENES, "length": 3}, {**RANDOM, "most_objects": 4}, r"most_objects must lie in \[1, 3\]"),
        ({**SCENES, "most_strokes": 1}, {**RANDOM, "most_objects": 2}, r"most_objects must lie in \[1, 1\]"),
        ({"conditional": True, "paintings_of_a_target": 3}, {}, "multiple of model.paintings_of_a_target=3"),
        ({"table": "free_grey"}, {"varied_share": 0.5}, "places on a grid: set it to 0"),
        ({}, {"distill_on": "random", "varied_share": 0.5}, "places on a grid: set it to 0"),
        ({"minibatches": 9}, {"batch_size": 8}, "at most data.batch_size=8"),
    ],
)
def test_of_its_experience(painter: dict[str, Any], data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(painter, **data)


@pytest.mark.parametrize("path", sorted(experiments_root().glob("spiral_*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("preset", [False, True])
def test_the_experiments_are_right(path: Path, preset: bool) -> None:
    path = path.parent / "paper" / path.name if preset else path
    if not path.is_file():
        pytest.skip("no preset of the paper")
    model, data = (settings(path, part) for part in ("model", "data"))
    check({**model, "image_size": 16, "width": 16, "discriminator_width": 4}, **data)


def test_the_two_rewards_differ_in_nothing_but_the_adversary() -> None:
    paths = [experiments_root() / f"spiral_mnist_recon{end}.yaml" for end in ("", "_discriminator")]
    adversary = {"reward", "adversary", "discriminator_lr", "discriminator_updates", "instance_noise", "replay_batches"}
    for part in ("model", "data"):
        one, two = (settings(path, part) for path in paths)
        assert {name for name in one | two if one.get(name) != two.get(name)} <= adversary
    assert "trainer" not in yaml.safe_load(paths[1].read_text())
