"""The comparison of SAC+AE's update: both sides learn, and the records say what was measured."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from toy_agent import make_trainer

from handgen.bench.sac_ae_update import SETTINGS, PlainSACAE, measure, transitions
from handgen.pixels.module import PixelSAC


def test_the_reference_learns() -> None:
    torch.manual_seed(0)
    agent, batch = PlainSACAE(16, 8), transitions(4, 16)
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    agent.update(batch, 0)
    changed = {name.split(".")[0] for name, value in agent.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"encoder", "critic", "actor", "decoder", "target_encoder", "target_critic", "log_alpha"}


def test_records_of_a_tiny_comparison() -> None:
    records = measure(runs=2, updates=2, batch_size=4, image_size=16, hidden=8, own_processes=False)
    assert len({record.variant for record in records}) == len(records) / 3 in (1, 2)
    found = {record.metric: record for record in records if "bfloat16" not in record.variant}
    assert set(found) == {f"sac_ae_update/{name}" for name in ("ours", "reference", "ratio")}
    ratio = found["sac_ae_update/ratio"]
    assert 0 < ratio.low <= ratio.value <= ratio.high
    assert "batch 4, 16 px" in ratio.variant


def in_our_form(plain: PlainSACAE) -> dict[str, Tensor]:
    """The plain agent's weights by the names that ours have."""
    state = plain.state_dict()
    found = {
        name.replace("actor.trunk", "actor.trunk.latent"): value
        for name, value in state.items()
        if name.startswith(("actor", "decoder"))
    }
    found["temperature.log_alpha"] = state["log_alpha"]
    for ours, theirs in (("online", ""), ("target", "target_")):
        for name, value in state.items():
            if name.startswith(f"{theirs}encoder."):
                found[name.replace(f"{theirs}encoder", f"{ours}.encoder.convolutions")] = value
            if name.startswith(f"{theirs}critic.trunk"):
                found[name.replace(f"{theirs}critic.trunk", f"{ours}.trunk.latent")] = value
        for layer in range(3):
            for kind in ("weight", "bias"):
                both = torch.stack([state[f"{theirs}critic.{q}.{2 * layer}.{kind}"] for q in ("q1", "q2")])
                both = both.transpose(1, 2) if kind == "weight" else both[:, None]
                found[f"{ours}.critics.layers.{layer}.{kind}"] = both
    return {name: value.clone() for name, value in found.items()}


DECISIONS = (4, 4, 5)
"""At three updates; with 5 it is not the actor's turn."""


PUBLISHED = {"critics_first": True, "delays_count": "decisions", "temperature_step": "alpha"}


@pytest.mark.parametrize("changed", [{}, {"critics_first": False}, {"delays_count": "updates"}, {"tau": 0.05}])
def test_with_the_papers_settings_ours_is_the_published_update(
    changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    plain, batch = PlainSACAE(16, 8), transitions(32, 16)
    settings = {**SETTINGS, **PUBLISHED, **changed}
    module = PixelSAC(action_dim=1, image_size=16, hidden_dims=(8, 8), compute="float32", **settings)
    first = in_our_form(plain)
    module.load_state_dict({**first, "env_steps": module.env_steps})
    begin = PixelSAC.begin_update

    def seeded(self: PixelSAC, batch: dict[str, Any]) -> None:
        begin(self, batch)
        torch.manual_seed(7 + self.global_step)

    monkeypatch.setattr(PixelSAC, "begin_update", seeded)
    # The targets' noise: ours is drawn in another order, that of the channels.
    monkeypatch.setattr(torch, "rand_like", lambda like, **kinds: torch.full_like(like, 0.5, **kinds))
    batches = [{**batch, "decisions": decisions} for decisions in DECISIONS]
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    make_trainer(tmp_path, max_epochs=1).fit(module, loader)
    for update, decisions in enumerate(DECISIONS):
        torch.manual_seed(7 + update)
        plain.update(batch, decisions)
    ours, theirs = module.state_dict(), in_our_form(plain)
    apart = [float((ours[name] - value).norm() / (value - first[name]).norm()) for name, value in theirs.items()]
    # Where gradients are no larger than rounding errors, Adam moves weights as far as elsewhere, either way.
    assert (max(apart) < 0.1) == (not changed), dict(zip(theirs, apart, strict=True))
