"""The arm's experiments, shrunk, through the command line in this process."""

import csv
import json
from pathlib import Path

import pytest
from hand_pictures import write_hands, write_photographs

from handgen import cli

SAC = ["--model.size=28", "--model.feature_dim=16", "--model.hidden_dims=[16]", "--model.critic_updates_first=2",
       "--data.env_kwargs.size=28", "--data.drawn_hands=8", "--data.poses=64", "--data.imitation_updates=6",
       "--data.imitation_batch_size=8", "--data.known_poses=4", "--data.batch_size=8", "--data.num_envs=2",
       "--data.warmup_decisions=10", "--data.epoch_env_steps=8"]  # fmt: skip
SHRUNK = {
    "arm_sac": SAC,
    "arm_sac_photographs": SAC,
    "arm_actor_critic": ["--data.env_kwargs.size=32", "--data.env_kwargs.episode_decisions=4", "--data.num_envs=2",
                         "--data.updates_per_decision=0.5", "--data.warmup_decisions=2", "--data.epoch_env_steps=8",
                         "--trainer.check_val_every_n_epoch=1"],
}  # fmt: skip
SHARED = ["--threads=1", "--trainer.max_epochs=3", "--data.eval_episodes=2", "--data.test_episodes=2"]
LOSSES = ("joints", "silhouette")
SHARED += ["--trainer.log_every_n_steps=1"]


@pytest.fixture(autouse=True)
def no_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDGEN_DATA", str(tmp_path / "data"))


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two targets of each data set instead of hundreds."""
    from handgen.callbacks.arm_evaluation import ArmEvaluation

    def shrunk(self: ArmEvaluation, trainer: object, pl_module: object, stage: str) -> None:
        self.during, self.count, self.shown, self.every_n_epochs = 2, 2, 2, 1

    monkeypatch.setattr(ArmEvaluation, "setup", shrunk)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHRUNK)
def test_experiment_trains_resumes_and_is_graded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    if name == "arm_sac_photographs":
        write_photographs(tmp_path / "data")
    words = ["--config", name, *SHARED, *SHRUNK[name]]
    whole, parts = ([*words, f"--runs={tmp_path / kind}"] for kind in ("whole", "parts"))
    assert cli.main(["fit", *whole]) == 0
    assert cli.main(["fit", *parts, "--trainer.max_epochs=1", "--evaluate_after_fit=false"]) == 0
    assert cli.main(["fit", *parts, "--ckpt_path=last"]) == 0
    results = {}
    for kind in ("whole", "parts"):
        (path,) = (tmp_path / kind).rglob("result.json")
        records = json.loads(path.read_text())
        results[kind] = {(r["dataset"], r["variant"], r["metric"]): r["value"] for r in records}
        assert (path.parent / "images" / "synthetic-rl-final.png").is_file()
    assert results["whole"] == results["parts"]
    graded = {(dataset, variant) for dataset, variant, metric in results["whole"] if metric == "mismatch"}
    assert {variant for _, variant in graded} == ({"rl"} if name == "arm_actor_critic" else {"imitation", "rl"})
    assert (("hands11k", "rl") in graded) == (("sign_digits", "rl") in graded) == (name == "arm_sac_photographs")
    assert {("rendered", "rl", "joint_error_rad"), ("rendered", "rl", "joint_error_visible_rad")} <= set(
        results["whole"]
    )
    assert results["whole"]["rendered", "rl", "usable"] == 1.0
    check_curve(name, results["whole"])
    check_log(name, path.parent / "metrics.csv")
    assert (path.parent / "videos" / "episode.mp4").is_file()


def check_curve(name: str, results: dict[tuple[str, str, str], float]) -> None:
    """Every evaluation is a point of its own, also during the warm start."""
    points = {(metric, variant) for dataset, variant, metric in results if "@" in metric and dataset == "rendered"}
    warm = ["rl"] * 3 if name == "arm_actor_critic" else ["imitation", "rl", "rl"]
    assert points == {(f"mismatch@{4 * n}_updates", variant) for n, variant in enumerate(warm, start=1)}


def check_log(name: str, path: Path) -> None:
    """The actor was moved by SAC, and what is logged has no weights."""
    rows = list(csv.DictReader(path.open()))
    assert any(row["train/reward"] for row in rows) and any(row["loss/actor"] for row in rows)
    if name != "arm_actor_critic":
        joints, silhouettes = ([float(row[f"loss/{key}"]) for row in rows if row[f"loss/{key}"]] for key in LOSSES)
        assert len(joints) >= 8 and max(silhouettes) < 1.0  # of a weight of 20


@pytest.mark.slow
def test_a_trained_arm_follows_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    words = ["--config", "arm_sac", *SHARED, *SHRUNK["arm_sac"], f"--runs={tmp_path / 'runs'}"]
    assert cli.main(["fit", *words, "--evaluate_after_fit=false"]) == 0
    write_hands(tmp_path / "mine", 3)
    assert cli.main(["video", *words, f"--feed={tmp_path / 'mine'}", "--count=2"]) == 0
    names = {path.name for path in tmp_path.rglob("videos/*")}
    assert names == {"mine.gif", "mine.mp4"}


@pytest.mark.slow
def test_the_warm_start_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    words = [*SHRUNK["arm_sac"], "--data.imitation_updates=600", "--data.imitation_batch_size=32", "--data.poses=512"]
    words += ["--model.feature_dim=64", "--data.epoch_env_steps=1200", "--trainer.max_epochs=1"]
    assert cli.main(["fit", "--config=arm_sac", *SHARED, *words, f"--runs={tmp_path}"]) == 0
    (path,) = tmp_path.rglob("metrics.csv")
    rows = [row for row in csv.DictReader(path.open()) if row["loss/silhouette"]]
    first, last = (sum(float(row["loss/silhouette"]) for row in part) for part in (rows[:4], rows[-4:]))
    assert last < 0.75 * first


def test_a_feed_that_no_method_follows_is_one_clear_line(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "--config=toy.yaml"]) == 0
    assert cli.main(["video", "--config=toy.yaml", "--feed=0"]) == 2
    assert "follows no feed" in capsys.readouterr().err
    assert not list(toy.rglob("videos/*"))
