"""The doctor: says what is there and what to install, and never fails."""

import pytest

from handgen import doctor
from handgen.doctor import Finding


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


def test_data_sets_are_listed(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hands11k").mkdir()  # type: ignore[operator]
    monkeypatch.setenv("HANDGEN_DATA", str(tmp_path))
    (found,) = (finding for finding in doctor.storage() if finding.name == "real data")
    assert found.good
    assert "hands11k" in found.detail
