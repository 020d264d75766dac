"""Every experiment there is: its settings are accepted, and its header says what it is and what it takes."""

import itertools
import re
from pathlib import Path

import pytest
import yaml

from handgen import cli
from handgen.errors import UserError
from handgen.experiment import known_experiments, layers, summary

EXPERIMENTS = known_experiments()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_settings_are_accepted_and_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["fit", "--config", name, "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["class_path"].startswith("handgen.") and config["data"]["class_path"].startswith("handgen.")
    lines = EXPERIMENTS[name].read_text().splitlines()
    head = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    assert summary(EXPERIMENTS[name])
    for told in ("Wall time", "Final metric", f"python -m handgen fit --config experiments/{name}.yaml"):
        assert told in head, f"{name}: its header does not say {told}"
    assert re.search(r"Wall time[^:]*: [^#]*?(\d|that of)", head), f"{name}: its header gives no time"


def test_an_experiment_states_the_differences_from_another(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("laid_over: arm_sac_photographs\n")
    assert [path.stem for path in layers(mine)] == ["arm_sac", "arm_sac_photographs", "mine"]
    assert [path.stem for path in layers(EXPERIMENTS["paper/sac_ae"])] == ["sac_ae", "sac_ae"]
    saved = tmp_path / "config.yaml"  # that of a run folder is whole
    saved.write_text("laid_over: arm_sac\n")
    assert layers(saved) == [saved]
    mine.write_text("laid_over: null\n")
    assert layers(mine) == [mine]
    mine.write_text("laid_over: 'arm_sac'  # and more\n")
    assert [path.stem for path in layers(mine)] == ["arm_sac", "mine"]
    mine.write_text(f"laid_over: {mine}\n")
    with pytest.raises(UserError, match="laid over itself"):
        layers(mine)
    mine.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="no text"):
        layers(mine)
    mine.write_text("laid_over: arm_sock\n")
    with pytest.raises(UserError, match="did you mean 'arm_sac'"):
        layers(mine)
