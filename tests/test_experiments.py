"""Every experiment there is: its settings are accepted, and its header says what it is and what it takes."""

import itertools

import pytest
import yaml

from handgen import cli
from handgen.experiment import known_experiments, summary

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
