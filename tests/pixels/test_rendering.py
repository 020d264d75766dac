"""Choosing what renders: settings are respected, EGL comes first, and nothing at all names the packages."""

import pytest

from handgen.errors import UserError
from handgen.pixels import rendering


def machine(monkeypatch: pytest.MonkeyPatch, egl: bool, osmesa: bool) -> None:
    """A Linux machine without a choice made, on which these work."""
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(rendering, "egl_works", lambda: egl)
    monkeypatch.setattr(rendering, "osmesa_works", lambda: osmesa)


@pytest.mark.parametrize(("egl", "osmesa", "chosen"), [(True, True, "egl"), (False, True, "osmesa")])
def test_the_first_that_works_is_set(monkeypatch: pytest.MonkeyPatch, egl: bool, osmesa: bool, chosen: str) -> None:
    machine(monkeypatch, egl, osmesa)
    assert rendering.choose_backend() == chosen
    assert rendering.os.environ["MUJOCO_GL"] == chosen


def test_a_choice_that_was_made_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, egl=True, osmesa=True)
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert rendering.choose_backend() == "glfw"


def test_without_opengl_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, egl=False, osmesa=False)
    with pytest.raises(UserError, match=r"apt-get install -y libegl1 libgl1.*libosmesa6") as caught:
        rendering.choose_backend()
    assert "\n" not in str(caught.value)


def test_other_systems_choose_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, egl=False, osmesa=False)
    monkeypatch.setattr("sys.platform", "darwin")
    assert rendering.choose_backend() == ""


def test_absent_libraries_are_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_library", lambda name: None)
    assert not rendering.egl_works()
    assert not rendering.osmesa_works()
