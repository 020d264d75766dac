"""The doctor: says what is there and what to install, and never fails."""

import pytest

from handgen import doctor
from handgen.doctor import Finding
from handgen.errors import UserError


def test_a_broken_check_is_reported_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Finding]:
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "storage", broken)
    monkeypatch.setattr(doctor, "rendering", lambda: [Finding("mujoco EGL", True, "rendered a frame")])
    text = doctor.examine()
    assert "could not be examined: no such thing" in text
    assert "mujoco EGL" in text
    assert "torch" in text


def test_a_backend_that_crashes_names_the_reason_and_the_remedy() -> None:
    assert doctor._renders("print('fine')") == ""
    assert doctor._renders("raise ImportError('no EGL')") == "ImportError: no EGL"
    assert "exit code" in doctor._renders("import os; os.abort()")
    finding = doctor._rendering("mujoco EGL", "ImportError: no EGL", "apt-get install -y libegl1")
    assert str(finding) == "--  mujoco EGL         ImportError: no EGL: apt-get install -y libegl1"


def test_a_library_of_brushes_without_its_brushes_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    from handgen.painter import mypaint

    monkeypatch.setattr(mypaint, "load_library", lambda: None)
    monkeypatch.setattr(mypaint, "brush_settings", lambda name: None)
    assert doctor._paint().good

    def absent(name: str) -> None:
        raise UserError(f"no brush {name}")

    monkeypatch.setattr(mypaint, "brush_settings", absent)
    finding = doctor._paint()
    assert not finding.good and "mypaint-brushes" in str(finding)


def test_data_sets_are_listed(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hands11k").mkdir()  # type: ignore[operator]
    monkeypatch.setenv("HANDGEN_DATA", str(tmp_path))
    (found,) = (finding for finding in doctor.storage() if finding.name == "real data")
    assert found.good
    assert "hands11k" in found.detail
