"""A ring of transitions in preallocated tensors, sampled whole batches at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.processes import processes_here

Batch = dict[str, Any]
Kind = tuple[tuple[int, ...], torch.dtype]  # shape of an entry and its type


class ReplayBuffer:
    """Transitions of N environments side by side, the oldest overwritten by the newest.

    Row t holds what all N environments did at the same time, so that the next row continues every episode that did not
    end: rewards over several steps need nothing stored but single steps.

    Observations are stored twice, as ``obs`` and ``next_obs``: for vectors that is cheap. Images belong in a
    `handgen.datamodules.pixel_replay.FrameReplay`, which keeps single frames and builds the stacks when it is sampled.

    Args:
        capacity_transitions: transitions kept, a multiple of N.
        num_envs: N.
        obs_shape: shape of one observation.
        action_dim: number of actions A.
        n_step: rewards that one sample sums up.
        device: where the tensors live.

    Raises:
        UserError: if the memory does not suffice, or a setting makes no sense.
    """

    def __init__(
        self,
        capacity_transitions: int,
        num_envs: int,
        obs_shape: tuple[int, ...],
        action_dim: int,
        n_step: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.rows, self.num_envs, self.n_step = capacity_transitions // num_envs, num_envs, n_step
        if n_step < 1:
            raise UserError(f"n_step must be at least 1, got {n_step}")
        if self.rows < n_step:
            raise UserError(f"replay_capacity_transitions must hold n_step={n_step} rows of {num_envs} transitions")
        flag, number = ((), torch.bool), ((), torch.float32)
        kinds: dict[str, Kind] = {
            **self._seen(obs_shape),
            "action": ((action_dim,), torch.float32),
            "reward": number,
            "terminated": flag,
            "truncated": flag,
        }
        row = sum(torch.Size(shape).numel() * dtype.itemsize for shape, dtype in kinds.values())
        check_memory(self.rows * num_envs * row, torch.device(device))
        # A memory page is taken when it is first written: a short run never needs the whole capacity.
        self.columns = {
            name: torch.zeros(self.rows, num_envs, *shape, dtype=dtype, device=device)
            for name, (shape, dtype) in kinds.items()
        }
        self.filled = 0
        self.head = 0

    # What a buffer that keeps observations in another form replaces.

    def _seen(self, obs_shape: tuple[int, ...]) -> dict[str, Kind]:
        """The columns that observations are kept in."""
        return {"obs": (obs_shape, torch.float32), "next_obs": (obs_shape, torch.float32)}

    def _obs(self, flat: Tensor) -> Tensor:
        """Observations (B, ...) that the actions of transitions were chosen on."""
        return self._take("obs", flat)

    def _next_obs(self, flat: Tensor) -> Tensor:
        """Observations (B, ...) that transitions led to."""
        return self._take("next_obs", flat)

    @property
    def _incomplete(self) -> int:
        """How many of the oldest rows cannot be drawn any more."""
        return 0

    def __len__(self) -> int:
        """Return the number of transitions stored."""
        return self.filled * self.num_envs

    def add(self, transition: dict[str, Tensor]) -> None:
        """Store one step of all environments.

        Args:
            transition: ``obs`` (N, ...), ``action`` (N, A), ``reward`` (N,), ``next_obs`` (N, ...) (of the same
                episode, also where it ends), ``terminated`` and ``truncated`` bool (N,).
        """
        for name, column in self.columns.items():
            column[self.head] = transition[name]
        self.head = (self.head + 1) % self.rows
        self.filled = min(self.filled + 1, self.rows)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Draw transitions uniformly, with replacement.

        Windows of n steps never reach beyond the newest row; one that meets the end of its episode stops there.

        Args:
            batch_size: B.
            generator: of the draws, on the buffer's device.

        Returns:
            ``obs`` (B, ...), ``action`` (B, A), ``reward`` (B, n), ``counted`` bool (B, n), ``next_obs`` (B, ...)
            after the last reward counted, ``terminated`` bool (B,).
        """
        starts = self.filled - self._incomplete - self.n_step + 1
        if starts < 1:
            raise UserError(f"the replay holds {self.filled} rows, n_step needs {self.n_step}: raise warmup_decisions")
        drawn = torch.randint(starts * self.num_envs, (batch_size,), generator=generator, device=generator.device)
        age, env = drawn // self.num_envs, drawn % self.num_envs
        oldest = self.head - self.filled + self._incomplete
        rows = (oldest + age[:, None] + torch.arange(self.n_step, device=age.device)) % self.rows  # (B, n)
        flat = rows * self.num_envs + env[:, None]
        first = flat[:, 0]
        counted = self._counted(flat)
        last = flat.gather(1, counted.sum(1, keepdim=True) - 1)[:, 0]
        return {
            "obs": self._obs(first),
            "action": self._take("action", first),
            "reward": self._take("reward", flat),
            "counted": counted,
            "next_obs": self._next_obs(last),
            "terminated": self._take("terminated", last),
        }

    def _counted(self, flat: Tensor) -> Tensor:
        """Which steps of (B, n) windows belong to the episode of the first: all up to its end."""
        ended = self._take("terminated", flat) | self._take("truncated", flat)
        before = torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], dim=1)
        return before.cumsum(1) == 0

    def _take(self, name: str, flat: Tensor) -> Tensor:
        """Entries of one column by their index into (rows * N)."""
        # On images five times as fast as plain indexing, which copies them byte by byte.
        entries = self.columns[name].flatten(0, 1)
        return entries.index_select(0, flat.flatten()).view(*flat.shape, *entries.shape[1:])

    def state_dict(self) -> dict[str, Any]:
        """The rows written so far, as tensors and plain numbers; of a full ring the tensors themselves, not copies."""
        # A part is cloned: a view would be saved with all the memory behind it.
        whole = self.filled == self.rows
        columns = {name: c.cpu() if whole else c[: self.filled].cpu().clone() for name, c in self.columns.items()}
        return {"columns": columns, "filled": self.filled, "head": self.head, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put stored rows back.

        Raises:
            UserError: if they come from a buffer of another size.
        """
        saved = {name: column.shape[1:] for name, column in state["columns"].items()}
        if state["rows"] != self.rows or saved != {name: column.shape[1:] for name, column in self.columns.items()}:
            raise UserError("the checkpoint's replay has another capacity or shape: resume with the run's settings")
        self.filled, self.head = state["filled"], state["head"]
        for name, column in self.columns.items():
            column[: self.filled] = state["columns"][name].to(column.device)


def check_memory(needed: int, device: torch.device) -> None:
    """Compare what a full replay takes with what is free, before hours of training show it.

    In main memory it takes twice its size while a checkpoint is written or read, and each process of a machine has one.

    Args:
        needed: bytes.
        device: where.

    Raises:
        UserError: if it does not fit.
    """
    free, processes = free_bytes(device), 1
    if device.type == "cpu":
        processes = processes_here()
        needed *= 2 * processes
    if free is not None and needed > free:
        reason = f" (twice its size for checkpoints, {processes} process{'es' if processes > 1 else ''})"
        raise UserError(
            f"a full replay takes {needed / 2**30:.1f} GiB{reason if device.type == 'cpu' else ''} and"
            f" {free / 2**30:.1f} GiB are free: lower data.replay_capacity_transitions"
        )


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device, None if it cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [free for free in (_free_of_machine(), _free_of_group()) if free is not None]
    return min(found) if found else None


def _free_of_machine() -> int | None:
    """Main memory that is free or could be."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _free_of_group(root: Path = Path("/sys/fs/cgroup"), group: Path = Path("/proc/self/cgroup")) -> int | None:
    """What a container or a batch system has left of the memory that it grants, if it limits it (cgroup v2)."""
    try:
        lines = group.read_text(encoding="utf-8").splitlines()
        folder = root / next(line[3:] for line in lines if line.startswith("0::")).lstrip("/")
        granted, used = (int((folder / f"memory.{name}").read_text(encoding="utf-8")) for name in ("max", "current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, StopIteration, ValueError):  # "max" is no limit
        return None
    return granted - used + int(stat.get("inactive_file", 0))  # files that the system would forget
