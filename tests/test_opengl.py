"""Choosing what renders: settings are respected, EGL comes first, and nothing at all names the packages."""

import pytest

from handgen import opengl
from handgen.errors import UserError


def machine(monkeypatch: pytest.MonkeyPatch, egl: bool, osmesa: bool) -> None:
    """A Linux machine without a choice made, on which these work."""
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(opengl, "egl_works", lambda: egl)
    monkeypatch.setattr(opengl, "osmesa_works", lambda: osmesa)


@pytest.mark.parametrize(("egl", "osmesa", "chosen"), [(True, True, "egl"), (False, True, "osmesa")])
def test_the_first_that_works_is_set(monkeypatch: pytest.MonkeyPatch, egl: bool, osmesa: bool, chosen: str) -> None:
    machine(monkeypatch, egl, osmesa)
    assert opengl.choose_backend() == chosen
    assert opengl.os.environ["MUJOCO_GL"] == chosen


def test_a_choice_that_was_made_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, egl=True, osmesa=True)
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert opengl.choose_backend() == "glfw"


def test_without_opengl_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, egl=False, osmesa=False)
    with pytest.raises(UserError, match=r"apt-get install -y libegl1 libgl1.*libosmesa6") as caught:
        opengl.choose_backend()
    assert "\n" not in str(caught.value)


def test_other_systems_choose_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, egl=False, osmesa=False)
    monkeypatch.setattr("sys.platform", "darwin")
    assert opengl.choose_backend() == ""


def test_absent_libraries_are_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "_library", lambda name: None)
    assert not opengl.egl_works()
    assert not opengl.osmesa_works()
