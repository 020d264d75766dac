"""The tuners' experiments, shrunk, through the command line in this process; the whole chain behind them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_tuner import ToyJudge

from handgen import cli
from handgen.experiment_arguments import prepare
from handgen.images import make_grid, write_png
from handgen.paths import experiments_root
from handgen.prerequisites import trained_run

SMALL_VAE = ["--model.latent_dim=4", "--threads=1"]
TINY_VAE = [
    *SMALL_VAE,
    "--evaluate_after_fit=false",
    "--model.width=4",
    "--model.gmm_components=2",
    "--model.second_stage_steps=3",
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=1",
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.log_every_n_steps=1",
    "--data.batch_size=4",
]
HANDS = ["--data.train_count=20", "--data.val_count=4", "--data.test_count=8"]
NESTED = [word.replace("--data.", "--data.images.") for word in HANDS]
TUNER = [
    *SMALL_VAE,
    "--model.starts=32",
    "--model.hidden_dims=[8,8]",
    "--data.num_envs=8",
    "--data.batch_size=16",
    "--data.warmup_decisions=16",
    "--data.replay_capacity_transitions=64",
    "--data.updates_per_decision=0.125",
    "--data.epoch_env_steps=32",
    "--data.eval_episodes=4",
    "--data.test_episodes=4",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
]


SMALL_CALLBACKS = """
trainer:
  callbacks:
    - class_path: handgen.callbacks.env_steps.EnvSteps
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {save_last: true, save_on_train_epoch_end: true}
    - class_path: handgen.callbacks.sample_grid.SampleGrid
      init_args: {every_n_epochs: 1, sampler: tuner, count: 4}
    - class_path: handgen.callbacks.hacking_gap.HackingGap
      init_args: {samples: 8, every_n_updates: 2}
    - class_path: handgen.callbacks.hand_evaluation.HandEvaluation
      init_args: {samples: 8, samplers: [gmm, best_of_4, tuner, tuner_gated]}
    - class_path: handgen.callbacks.before_after.BeforeAfter
"""


class GradingJudge(ToyJudge):
    """The toy judge with all that an evaluation asks for."""

    sensitivity, specificity = 0.95, 0.95

    def verdict(self, image: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(valid=self(image) > 0)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(image, 2).flatten(1)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judges = {name: GradingJudge() for name in ("judge_a", "judge_b", "geometric")}
    monkeypatch.setattr("handgen.latent.module.load_learned_judge", lambda path: ToyJudge())
    monkeypatch.setattr("handgen.callbacks.hacking_gap.load_judges", lambda: judges)
    monkeypatch.setattr("handgen.callbacks.hand_evaluation.load_judges", lambda: judges)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HANDGEN_RUN_FOLDER", raising=False)


def header(runs: Path, experiment: str) -> set[str]:
    (csv,) = (runs / experiment).rglob("metrics.csv")
    return set(csv.read_text().partition("\n")[0].split(","))


def test_the_loss_delta_experiment_trains(tmp_path: Path) -> None:
    words = ["fit", "--config=vae_sac_loss", *TINY_VAE, *HANDS, f"--runs={tmp_path}", "--trainer.max_epochs=3"]
    assert cli.main([*words, "--model.random_actions=1"]) == 0
    found = header(tmp_path, "vae_sac_loss")
    assert {"env/reward", "env/loss", "env/loss_change", "loss/critic", "loss/actor", "train/temperature"} <= found


@pytest.mark.slow
def test_the_chain_from_vae_to_repaired_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = f"--runs={tmp_path / 'runs'}"
    assert cli.main(["fit", "--config=vae", *TINY_VAE, *HANDS, runs]) == 0
    (tmp_path / "small.yaml").write_text(SMALL_CALLBACKS)
    tiny = ["--config=vae_sac", f"--config={tmp_path / 'small.yaml'}", "--name=vae_sac", *TUNER, *NESTED, runs]
    assert cli.main(["fit", *tiny]) == 0
    printed = capsys.readouterr().out
    assert "starting from" in printed and "before (gmm)" in printed and "after (tuner)" in printed
    assert {"eval/gap/judge_b", "train/reward", "train/reward_judge", "loss/discriminator"} <= header(
        tmp_path / "runs", "vae_sac"
    )
    (run,) = (tmp_path / "runs" / "vae_sac").iterdir()
    assert (run / "hacking_gap.png").stat().st_size > 2000
    assert (run / "before_after.png").stat().st_size > 1000
    picture = write_png(tmp_path / "hand.png", make_grid(torch.rand(1, 3, 90, 60)))
    assert cli.main(["sample", *tiny, f"--input={picture}"]) == 0
    assert (run / "samples" / "before_after.png").stat().st_size > 1000
    assert cli.main(["sample", *tiny, "--input=nowhere.png"]) == 2
    assert "error: cannot read the picture nowhere.png" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_line_trains_a_missing_vae(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("handgen.commands.prepare", lambda name, words: prepare(name, [*words, *TINY_VAE, *HANDS]))
    (tmp_path / "small.yaml").write_text(SMALL_CALLBACKS)
    words = [f"--config={tmp_path / 'small.yaml'}", "--name=vae_sac", f"--runs={tmp_path / 'runs'}"]
    assert cli.main(["fit", "--config=vae_sac", *words, *TUNER, *NESTED, "--evaluate_after_fit=false"]) == 0
    printed = capsys.readouterr().out
    assert "no run of vae with seed 0 under" in printed and "starting from" in printed
    for experiment in ("vae", "vae_sac"):
        assert len(list((tmp_path / "runs" / experiment).rglob("last.ckpt"))) == 1


def leave_run(root: Path, seed: int, epoch: int) -> None:
    """A run of five epochs that has come to the end of one."""
    folder = root / "vae" / f"20260101-000000-seed{seed}"
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("trainer: {max_epochs: 5}")
    torch.save({"state_dict": {}, "epoch": epoch}, folder / "checkpoints" / "last.ckpt")


def test_a_missing_vae_is_trained_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def train(words: list[str]) -> int:
        asked.append(words)
        leave_run(tmp_path, seed=3, epoch=4)
        return 0

    assert trained_run(tmp_path, "vae", 3, train).name == "20260101-000000-seed3"
    words = ["fit", "--config=vae", f"--runs={tmp_path}", "--seed_everything=3", "--evaluate_after_fit=false"]
    assert asked == [words]
    assert "no run of vae with seed 3 under" in capsys.readouterr().out
    assert trained_run(tmp_path, "vae", 3, train).name == "20260101-000000-seed3"
    assert len(asked) == 1  # now there is one


def test_an_unfinished_vae_is_finished_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_run(tmp_path, seed=3, epoch=1)

    def train(words: list[str]) -> int:
        assert words[-1] == "--ckpt_path=last"
        leave_run(tmp_path, seed=3, epoch=4)
        return 0

    trained_run(tmp_path, "vae", 3, train)
    assert "seed3 is not finished: going on with it first" in capsys.readouterr().out


def test_an_interrupted_training_stops_the_chain(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained_run(tmp_path, "vae", 0, lambda words: 130)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.vae=nowhere"], "no checkpoint at nowhere"),
        (["--model.variant=sacc", "--model.vae=nowhere"], "variant"),
        (["--model.start=gnn", "--model.vae=nowhere"], "unknown start 'gnn'"),
    ],
)
def test_bad_input_gets_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fit", "--config=vae_sac", *words, f"--runs={tmp_path}", "--threads=1"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and message in said and "\n" not in said


def test_a_lambda_of_no_sense_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "vae_sac_loss.yaml"
    text = (experiments_root() / "vae_sac_loss.yaml").read_text()
    config.write_text(text.replace("scale: 1.0", "scale: -1.0"))
    assert cli.main(["fit", f"--config={config}", f"--runs={tmp_path}", "--threads=1"]) == 2
    assert "lambda must be positive, got -1.0" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["vae_sac", "vae_sac_hands11k"])
def test_every_experiment_names_what_it_starts_from(name: str) -> None:
    import yaml

    config = yaml.safe_load((experiments_root() / f"{name}.yaml").read_text())
    assert config["starts_from"] == name.replace("vae_sac", "vae")
