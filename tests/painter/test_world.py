"""Painting action by action: pens, pressure, jumps, programs that come out the same."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from handgen.errors import UserError
from handgen.painter.actions import TABLES, action_table
from handgen.painter.brush import coverage
from handgen.painter.programs import Program, load_program, replay, save_program, to_svg
from handgen.painter.rollout import random_programs
from handgen.painter.world import PaintWorld, TorchEngine

GOLDEN = ["00243000", "06656820", "00243260", "05999640", "49625960", "57013792", "00430196", "00000057"]
INK = 23.42825


def random_program(table: str, steps: int = 8, channels: int = 3) -> Program:
    generator = torch.Generator().manual_seed(3)
    actions = random_programs(action_table(table), 1, steps, generator)[0]
    return Program(table, actions, channels)


def paper(draw: int, end: tuple[int, int], control: tuple[int, int], size: int, pressure: int) -> list[float]:
    return [float(n) for n in (draw, 32 * end[1] + end[0], 32 * control[1] + control[0], size, pressure)]


def test_strokes_go_on_where_the_last_one_ended_with_its_pressure() -> None:
    world = PaintWorld(action_table("paper_grey"), TorchEngine(32, 1))
    world.reset(1)
    first = world.strokes(torch.tensor([paper(1, (3, 3), (5, 5), 1, 3)]))
    assert first.places[0].tolist() == [[0.5, 0.5], [5.5 / 32] * 2, [3.5 / 32] * 2]
    assert first.pressure[0].tolist() == pytest.approx([0.4, 0.4])  # nothing was before
    second = world.strokes(torch.tensor([paper(1, (9, 0), (5, 5), 1, 9)]))
    assert second.places[0, 0].tolist() == [3.5 / 32] * 2
    assert second.pressure[0].tolist() == pytest.approx([0.4, 1.0])
    jump = world.strokes(torch.tensor([paper(0, (0, 0), (5, 5), 1, 9)]))
    assert not jump.drawn.any()
    third = world.strokes(torch.tensor([paper(1, (9, 0), (5, 5), 1, 5)]))
    assert third.places[0, 0].tolist() == [0.5 / 32] * 2
    assert third.pressure[0].tolist() == pytest.approx([0.6, 0.6])


def test_compound_strokes_go_on_smoothly_with_the_brush_of_their_jump() -> None:
    world = PaintWorld(action_table("compound_grey"), TorchEngine(32, 1))
    world.reset(1)
    world.strokes(torch.tensor([[0.0, 4, 8, 5]]))  # to (4.5, 8.5) cells, with the sixth size
    first = world.strokes(torch.tensor([[1.0, 12, 8, 0]]))
    assert (32 * first.places[0]).tolist() == [[4.5, 8.5], [8.5, 8.5], [12.5, 8.5]]  # straight to the right
    second = world.strokes(torch.tensor([[1.0, 12, 16, 0]]))
    # It leaves to the right, half of its length of eight cells.
    assert (32 * second.places[0]).tolist() == [[12.5, 8.5], [16.5, 8.5], [12.5, 16.5]]
    third = world.strokes(torch.tensor([[1.0, 12, 16, 0]]))
    assert torch.isfinite(third.places).all()  # it stays where it is
    kept = action_table("compound_grey").decode(torch.tensor([0.0, 0, 0, 5]))["size"].item()
    assert first.size.item() == second.size.item() == kept
    world.strokes(torch.tensor([[0.0, 20, 20, 2]]))
    fourth = world.strokes(torch.tensor([[1.0, 20, 24, 0]]))
    assert (32 * fourth.places[0, 1]).tolist() == [20.5, 22.5] and fourth.size.item() < kept


def test_a_stroke_on_the_canvas_is_what_the_brush_covers() -> None:
    world = PaintWorld(action_table("paper_grey"), TorchEngine(32, 1))
    world.reset(2)
    actions = torch.tensor([paper(1, (3, 3), (31, 5), 3, 9), paper(0, (3, 3), (31, 5), 3, 9)])
    canvas = world.step(actions)
    places = torch.tensor([[[0.5, 0.5], [31.5 / 32, 5.5 / 32], [3.5 / 32, 3.5 / 32]]])
    ink = coverage(places, torch.full((1, 2), 4 / 64), 32)
    torch.testing.assert_close(canvas[0], 1.0 - ink, atol=1e-4, rtol=0.0)
    assert (canvas[1] == 1.0).all()


@pytest.mark.parametrize("table", [name for name in TABLES if not name.startswith("scene")])
def test_a_program_comes_out_the_same_from_its_file(table: str, tmp_path: Path) -> None:
    program = random_program(table, channels=1 if "grey" in table else 3)
    again = load_program(save_program(program, tmp_path / "program.json"))
    assert again.table == table and torch.equal(again.actions, program.actions)
    for size in (32, 64):
        canvases = replay(program, size)
        assert canvases.shape == (9, program.channels, size, size)
        assert torch.equal(canvases, replay(again, size))
        assert canvases[-1].min() < 0.9
    assert to_svg(program).count("<line") == 8 * int((program.actions[:, 0] > 0).sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"table": "oil"}, "no action table 'oil'"),
        ({"actions": [[1.0, 2.0]]}, "has 6 components, not 2"),
        ({"actions": [[1, 99, 0, 0, 0, 0]]}, "end_x has the choices 0 to 31"),
        ({"actions": [[1, float("nan"), 0, 0, 0, 0]]}, "end_x: a choice is not a number"),
        ({"actions": "none"}, "rows of numbers"),
        ({"actions": [10**400]}, "rows of numbers"),
        ({"actions": []}, "rows of actions"),
        ({"actions": [1, 2, 3, 4, 5, 6]}, "rows of actions"),
        ({"actions": [[[1, 2, 3, 4, 5, 6]]]}, "rows of actions"),
        ({"components": ["draw", "end"]}, "the components draw, end are not those of the table fast_grey"),
        ({"components": 3}, "no program of brush strokes"),
        ({"channels": 2}, "1 channel"),
        ({"channels": "many"}, "no program of brush strokes"),
        ({"channels": float("inf")}, "no program of brush strokes"),
    ],
)
def test_a_wrong_program_gets_one_line(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = save_program(random_program("fast_grey"), tmp_path / "program.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        load_program(path)


def test_what_a_file_leaves_out_is_as_it_was_before(tmp_path: Path) -> None:
    program = dataclasses.replace(random_program("fast_grey", channels=1), engine="mypaint", brush="pencil")
    path = save_program(program, tmp_path / "program.json")
    again = load_program(path)
    assert (again.engine, again.brush) == ("mypaint", "pencil")
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("engine", "brush")}
    path.write_text(json.dumps(old))
    assert (load_program(path).engine, load_program(path).brush) == ("torch", "pen")


def test_a_stored_program_looks_as_it_always_has() -> None:
    """Ink of 8 x 8 squares, in ninths of black: a brush that has changed is seen here."""
    rows = [
        [0, 6, 6, 0, 0, 0],
        [1, 25, 9, 16, 0, 3],
        [1, 8, 26, 30, 20, 0],
        [0, 4, 20, 0, 0, 0],
        [1, 28, 28, 16, 2, 7],
    ]
    canvas = replay(Program("fast_grey", torch.tensor(rows).float(), 1), 32)[-1]
    ink = torch.nn.functional.avg_pool2d(1.0 - canvas, 4)[0]
    found = ["".join(str(int(level)) for level in row) for row in (9 * ink).round().tolist()]
    assert found == GOLDEN
    assert ink.sum().item() == pytest.approx(INK, abs=1e-3)


def test_scenes_are_replayed_as_scenes() -> None:
    program = Program("scene", torch.tensor([[1.0, 0, 136, 2, 3, 0, 0], [0.0] * 7]))
    try:
        canvases = replay(program, 32)
    except UserError as error:
        pytest.skip(str(error))
    assert canvases.shape == (3, 3, 32, 32) and not torch.equal(canvases[0], canvases[1])
    assert torch.equal(canvases[1], canvases[2])


def test_a_program_that_is_nested_without_end_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="no program of brush strokes"):
        load_program(tmp_path / "deep.json")


def test_what_is_no_program_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no program of brush strokes"):
        load_program(tmp_path / "absent.json")
    with pytest.raises(UserError, match="multiple of 8"):
        TorchEngine(30)
