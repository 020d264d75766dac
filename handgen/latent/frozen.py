"""Opening a trained VAE, from its own checkpoint or from that of a tuner, which carries its VAE with it."""

from __future__ import annotations

from pathlib import Path

from handgen.checkpoints import read_checkpoint
from handgen.errors import UserError
from handgen.vae import VAE

PREFIX = "vae."
SETTINGS = "vae_settings"
"""Key of a tuner's checkpoint under which the settings of its VAE are."""


def open_vae(path: str | Path, latent_dim: int | None = None) -> VAE:
    """A trained VAE, frozen and in evaluation mode, with the settings that it was trained with.

    Args:
        path: a checkpoint, or a run folder that holds one.
        latent_dim: number of latent dimensions that it must have; None takes any.

    Raises:
        UserError: if there is no such checkpoint, or it is of another model or of another latent size.
    """
    file = Path(path)
    file = file / "checkpoints" / "last.ckpt" if file.is_dir() else file
    checkpoint = read_checkpoint(file)
    weights = checkpoint["state_dict"]
    settings = checkpoint.get(SETTINGS) or checkpoint.get("hyper_parameters", {})
    if SETTINGS in checkpoint:
        weights = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
    try:
        vae = VAE(**settings)
        vae.load_state_dict(weights)
    except (TypeError, RuntimeError) as error:
        raise UserError(f"{file} is no checkpoint of a VAE: give model.vae the run folder of one") from error
    found = vae.hparams["latent_dim"]
    if latent_dim is not None and found != latent_dim:
        raise UserError(f"the VAE in {file} has {found} latents, model.latent_dim is {latent_dim}: make them equal")
    vae.requires_grad_(False)
    return vae.eval()
