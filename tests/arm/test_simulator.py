"""The arm in PyBullet: it goes where it is told, worlds do not meet, and broken files are named."""

from pathlib import Path

import numpy as np
import pytest

from handgen.arm.body import FITTED, HIGH, JOINTS
from handgen.arm.simulator import ArmSimulator, import_bullet
from handgen.arm.urdf import capsule_mesh, write_urdf
from handgen.errors import UserError


def test_joints_reach_their_targets_against_gravity() -> None:
    simulator = ArmSimulator()
    wanted = np.array([0.3, 1.2, 0.0, 0.7, 1.55, 0.2, 0.9, 0.0, 1.0, 1.55, -0.5, 0.9])
    simulator.move(wanted, 4)
    np.testing.assert_allclose(simulator.joints(), wanted, atol=0.01)
    simulator.move(wanted + 5.0, 4)
    np.testing.assert_allclose(simulator.joints(), HIGH, atol=0.01)


def test_two_arms_in_one_process_leave_each_other_alone() -> None:
    first, second = ArmSimulator(), ArmSimulator()
    first.move(np.full(12, 0.4), 4)
    np.testing.assert_allclose(second.joints(), 0.0, atol=1e-6)
    second.close()
    first.camera(32)


def test_the_camera_sees_the_arm_and_where_it_is() -> None:
    simulator = ArmSimulator()
    picture, mask = simulator.camera(56)
    assert picture.shape == (56, 56, 3) and picture.dtype == np.uint8
    assert 0.15 < mask.mean() < 0.4
    assert picture[~mask].min() > 240  # nothing but white around it: no floor
    assert picture[mask].mean() < 230
    rows, columns = np.nonzero(mask)
    assert columns[rows > 30].mean() < 28  # the thumb is on the left


def test_the_drawn_mask_follows_the_simulation() -> None:
    simulator = ArmSimulator()
    simulator.move(np.array([0.2, 0.9, 0.0, 0.1, 1.4, 1.2, 0.5, 0.0, 0.1, 0.3, 0.3, -0.5]), 4)
    rendered, drawn = simulator.camera(56)[1], simulator.mask(56)
    assert (rendered & drawn).sum() / (rendered | drawn).sum() > 0.97


def test_the_urdf_has_the_twelve_joints(tmp_path: Path) -> None:
    text = write_urdf(FITTED, tmp_path).read_text()
    assert [name for name in JOINTS if f'<joint name="{name}" type="revolute">' not in text] == []
    assert len(list(tmp_path.glob("*.obj"))) == 12


def test_a_capsule_s_mesh_is_closed_and_faces_outwards() -> None:
    start, end = np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.2, 0.9])
    vertices, _, faces = capsule_mesh(start, end, 0.1)
    edges = [(face[i], face[(i + 1) % 3]) for face in faces for i in range(3)]
    assert len(set(edges)) == len(edges) and {(b, a) for a, b in edges} == set(edges)
    corners = vertices[np.array(faces)] - (start + end) / 2
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    length = np.linalg.norm(end - start)
    assert volume == pytest.approx(np.pi * 0.1**2 * length + 4 / 3 * np.pi * 0.1**3, rel=0.06)


def test_a_world_that_could_not_be_filled_is_closed(tmp_path: Path) -> None:
    before = ArmSimulator()
    number = before.client
    before.close()
    with pytest.raises(UserError, match="no such URDF"):
        ArmSimulator(urdf=str(tmp_path / "nowhere.urdf"))
    after = ArmSimulator()
    assert after.client == number  # PyBullet gives the first number that is free
    after.close()


def test_an_absent_or_broken_urdf_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"no such URDF: .*nowhere\.urdf"):
        ArmSimulator(urdf=str(tmp_path / "nowhere.urdf"))
    broken = tmp_path / "broken.urdf"
    broken.write_text("<robot name='x'><link")
    capfd.readouterr()
    with pytest.raises(UserError, match=r"cannot load .*broken\.urdf"):
        ArmSimulator(urdf=str(broken))
    assert capfd.readouterr() == ("", "")  # PyBullet's own remarks
    bare = tmp_path / "bare.urdf"
    bare.write_text('<robot name="x"><link name="a"/></robot>')
    with pytest.raises(UserError, match="no joint thumb_palm"):
        ArmSimulator(urdf=str(bare))


def test_masks_of_a_foreign_arm_need_the_renderer(tmp_path: Path) -> None:
    simulator = ArmSimulator(urdf=str(write_urdf(FITTED, tmp_path)))
    assert simulator.camera(32)[1].any()
    with pytest.raises(UserError, match="renderer=bullet"):
        simulator.mask(32)


def test_a_world_that_pybullet_refuses_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    bullet = import_bullet()

    def refuse(how: int) -> int:
        raise bullet.error("no more worlds")

    monkeypatch.setattr(bullet, "connect", refuse)
    with pytest.raises(UserError, match="could not open a world: no more worlds"):
        ArmSimulator()


def test_a_window_without_a_display_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UserError, match="needs a display"):
        ArmSimulator(gui=True)
    monkeypatch.setenv("DISPLAY", ":97")
    with pytest.raises(UserError, match="the display :97 does not answer"):
        ArmSimulator(gui=True)
