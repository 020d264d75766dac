"""MyPaint's brushes, where the library is."""

import pytest
import torch

from handgen.errors import UserError
from handgen.painter import mypaint
from handgen.painter.actions import action_table
from handgen.painter.world import PaintWorld, TorchEngine


def installed() -> bool:
    try:
        mypaint.load_library(), mypaint.brush_settings("pen")
    except UserError:
        return False
    return True


needs_mypaint = pytest.mark.skipif(not installed(), reason="libmypaint is not installed")
LINE = torch.tensor([[0.0, 4.0, 16.0, 0.0, 0.0, 0.0], [1.0, 26.0, 16.0, 16.0, 16.0, 6.0]])  # left to right


def painted(engine: mypaint.MyPaintEngine | TorchEngine) -> torch.Tensor:
    world = PaintWorld(action_table("fast_grey"), engine)
    world.reset(1)
    for action in LINE:
        canvas = world.step(action[None])
    return canvas[0]


@needs_mypaint
@pytest.mark.parametrize("brush", mypaint.BRUSHES)
@pytest.mark.parametrize("size", [64, 128])
def test_a_line_is_where_the_brush_on_tensors_has_it(brush: str, size: int) -> None:
    canvas = painted(mypaint.MyPaintEngine(size, 1, brush))
    assert canvas.shape == (1, size, size) and canvas.max() == 1.0
    ink, ours = 1.0 - canvas[0], 1.0 - painted(TorchEngine(size, 1))[0]
    assert ink.sum() > 0.05 * ours.sum()
    rows = torch.arange(size) + 0.5
    middle = (ink.sum(1) * rows).sum() / ink.sum()
    assert middle.item() == pytest.approx(16.5 / 32 * size, abs=size / 32)
    assert ink[size // 4 : 3 * size // 4].sum() > 0.9 * ink.sum()  # the dry brush scatters


@needs_mypaint
def test_paintings_repeat_themselves_and_canvases_are_their_own() -> None:
    table = action_table("paper")
    generator = torch.Generator().manual_seed(0)
    actions = torch.stack([torch.randint(c.bins, (6, 3), generator=generator) for c in table.components], -1).float()
    actions[..., 0] = 1.0
    found = []
    for count in (3, 3, 1):
        world = PaintWorld(table, mypaint.MyPaintEngine(64, 3, "dry_brush"))
        world.reset(count)
        for action in actions:
            canvas = world.step(action[:count])
        found.append(canvas)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][:1], found[2])
    assert not torch.equal(found[0][0], found[0][1])


def test_an_unknown_brush_and_a_missing_library_get_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (0, -8, 5000):
        with pytest.raises(UserError, match="its side must lie in"):
            mypaint.MyPaintEngine(size)
    with pytest.raises(UserError, match="take one of pen"):
        mypaint.brush_settings("wet_knife")
    monkeypatch.setattr(mypaint, "LIBRARIES", ("libabsent.so",))
    monkeypatch.setattr(mypaint.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(UserError, match="apt-get install -y libmypaint"):
        mypaint.load_library.__wrapped__()
