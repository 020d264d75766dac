"""Two processes with half a batch each learn what one learns from the whole."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import ROOT, variables

SCRIPT = '''
import sys

import torch
from lightning.pytorch import LightningDataModule, Trainer
from toy_agent import tiny_agent, toy_batch

from handgen.vae import VAE

kind, devices, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.manual_seed(0)


class Halves(LightningDataModule):
    """The same batches for everyone; each process of several takes its share of the rows."""

    def train_dataloader(self):
        if kind == "sac":
            return torch.utils.data.DataLoader([toy_batch(16, seed=seed) for seed in range(12)], batch_size=None)
        images = torch.rand(12, 16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        return torch.utils.data.DataLoader([{"image": batch} for batch in images], batch_size=None)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return {k: v[rank::world] if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


if kind == "sac":
    module = tiny_agent(lr=1e-3)
else:  # batch normalisation would see half of the batch
    module = VAE(image_size=16, latent_dim=3, width=8, norm="group", likelihood="gaussian", lr=1e-3)
# Chance is each process' own: leave it out.
torch.randn_like = torch.zeros_like
torch.randn = lambda *shape, generator=None, **kwargs: torch.zeros(*shape, **kwargs)
trainer = Trainer(accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=1,
                  logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                  use_distributed_sampler=False)
trainer.fit(module, Halves())
if trainer.is_global_zero:
    torch.save({n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}, path)
'''  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["sac", "vae"])
def test_half_a_batch_each_is_the_whole(kind: str, tmp_path: Path) -> None:
    (tmp_path / "joint.py").write_text(SCRIPT)
    environment = {**variables(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    found = {}
    for devices in (1, 2):
        words = [sys.executable, "joint.py", kind, str(devices), f"{devices}.pt"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
        found[devices] = torch.load(tmp_path / f"{devices}.pt", weights_only=True)
    moved = {name: float((value - found[1][name]).abs().max()) for name, value in found[2].items()}
    assert max(moved.values()) < 2e-4, {name: size for name, size in moved.items() if size >= 2e-4}
