"""Training with SAC: our module under its Trainer against Stable-Baselines3's, updates a second.

Both learn Pendulum-v1 with the same network sizes, batches and one update for each decision; acting, the environment
and the replay are part of the time, evaluation, logging and checkpoints are not. Runs alternate in one process, and
medians are compared, so that a busy machine slows both.
"""

from __future__ import annotations

import logging
import time
import warnings

import torch

from handgen.bench._sides import compared, seconds_of_training
from handgen.datamodules.replay import ReplayDataModule
from handgen.errors import UserError
from handgen.results import Record
from handgen.sac import SAC

ENV_ID = "Pendulum-v1"
WARMUP = 300


def seconds_of_ours(updates: int, hidden: int, batch_size: int, warmup: int = WARMUP) -> float:
    """Seconds of all updates but the first."""
    data = ReplayDataModule(ENV_ID, batch_size=batch_size, warmup_decisions=warmup, epoch_env_steps=updates + 1, seed=0)
    return seconds_of_training(SAC(obs_dim=3, action_dim=1, hidden_dims=(hidden, hidden)), data)


def seconds_of_reference(updates: int, hidden: int, batch_size: int, warmup: int = WARMUP) -> float:
    """Seconds of as many updates by Stable-Baselines3, the first left out too.

    Raises:
        UserError: If it is not installed.
    """
    try:
        from stable_baselines3 import SAC as PeerSAC
    except ImportError as error:
        raise UserError(
            "sac_update compares with stable-baselines3: pip install -c constraints.txt -e '.[peers]'"
        ) from error
    peer = PeerSAC(
        "MlpPolicy",
        ENV_ID,
        batch_size=batch_size,
        learning_starts=warmup,
        policy_kwargs={"net_arch": [hidden, hidden]},
        device="cpu",
        seed=0,
    )
    peer.learn(warmup + 1)
    start = time.perf_counter()
    peer.learn(updates, reset_num_timesteps=False)
    return time.perf_counter() - start


def measure(
    runs: int = 7, updates: int = 300, hidden: int = 256, batch_size: int = 256, warmup: int = WARMUP
) -> list[Record]:
    """Measure both in turn.

    Args:
        runs: Runs of each.
        updates: Updates timed in a run.
        hidden: Units of both hidden layers.
        batch_size: Transitions in a batch.
        warmup: Random decisions before the first update.

    Returns:
        ``sac_update/ours`` and ``sac_update/reference`` (updates/s, medians) and ``sac_update/ratio`` (the median of
        the ratios of neighbouring runs), with the extremes of the runs as ``low`` and ``high``.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    rates: dict[str, list[float]] = {"ours": [], "reference": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(runs):
            for name, timed in (("ours", seconds_of_ours), ("reference", seconds_of_reference)):
                rates[name].append(updates / timed(updates, hidden, batch_size, warmup))
    unit = f"updates/s, batch {batch_size}, {hidden} units, {torch.get_num_threads()} threads"
    return compared("sac_update", unit, rates["ours"], rates["reference"], ENV_ID)
