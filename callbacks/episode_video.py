"""Films an evaluated agent, with its keypoints where it has any."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from handgen.datamodules.envs import GymEnvs
from handgen.datamodules.evaluation_episodes import Player
from handgen.errors import UserError, check_at_least
from handgen.runs import run_folder

LARGEST_GIF = 192
"""Pixels: a film of an episode in a README is to stay below two megabytes."""


class EpisodeVideo(Callback):
    """Plays one episode with the mean action when a test run ends, and writes ``videos/episode.mp4`` and ``.gif``.

    The film is what the environment's ``render`` shows at every decision. Keypoints of a method that has
    ``keypoints(obs)`` are drawn on it where the network saw them, one colour for each point. The environment is that of
    the data module, made with its ``video_env_kwargs`` where it has any, else with its ``env_kwargs``.

    Args:
        seed: of the episode.
        episodes: that follow each other.
        largest: decisions filmed.
        gif_every: decisions between two pictures of the GIF.
        gif_size: pixels of its larger side at most.
    """

    def __init__(
        self, seed: int = 0, largest: int = 1000, gif_every: int = 2, gif_size: int = LARGEST_GIF, episodes: int = 1
    ) -> None:
        check_at_least(1, largest=largest, gif_every=gif_every, gif_size=gif_size, episodes=episodes)
        self.seed, self.largest, self.gif_every, self.episodes = seed, largest, gif_every, episodes
        self.gif_size = gif_size

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Play and write, on rank 0 alone; where nothing can draw or write films, say so and go on."""
        if not trainer.is_global_zero:
            return
        try:
            self._write(trainer, pl_module)
        except UserError as error:
            warnings.warn(f"no film of the agent: {error}", stacklevel=1)

    def _write(self, trainer: Trainer, module: LightningModule) -> None:
        source: Any = trainer.datamodule  # type: ignore[attr-defined]
        env_kwargs = getattr(source, "video_env_kwargs", source.env_kwargs)
        with torch.no_grad():
            frames, rate = self.film(module, source.env_id, env_kwargs, source.action_repeat)
        folder = run_folder(trainer) / "videos"
        folder.mkdir(parents=True, exist_ok=True)
        write_gif(frames[:: self.gif_every], folder / "episode.gif", rate / self.gif_every, self.gif_size)
        write_mp4(frames, folder / "episode.mp4", rate)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_video("eval/episode", [str(folder / "episode.mp4")])

    def film(self, module: Any, env_id: str, env_kwargs: dict[str, Any], action_repeat: int) -> tuple[Tensor, float]:
        """Play the episodes.

        Args:
            module: the agent.
            env_id: id of its environment.
            env_kwargs: arguments of ``gymnasium.make``.
            action_repeat: times that each action is taken, where the environment does not repeat it itself.

        Returns:
            Frames uint8 (T, 3, H, W), and how many of them are a second.
        """
        envs = GymEnvs(env_id, 1, action_repeat, {**env_kwargs, "render_mode": "rgb_array"})
        env = envs.envs[0]
        obs, frames, player, ended = envs.reset([self.seed]), [], Player(module, envs), 0
        for _ in range(self.largest):
            frames.append(self._picture(module, env, obs))
            step = envs.step(player.act(obs))
            obs = step.obs
            if not step.terminated | step.truncated:
                continue
            ended += 1
            if ended == self.episodes:
                break
            player = Player(module, envs)  # one knows of no earlier episode
        rate = float(env.metadata.get("render_fps") or 12)
        env.close()
        return torch.stack(frames), rate

    def _picture(self, module: Any, env: Any, obs: Tensor) -> Tensor:
        """What the environment looks like, uint8 (3, H, W), with keypoints."""
        picture = torch.from_numpy(np.array(env.render())).permute(2, 0, 1)
        if not hasattr(module, "keypoints") or obs.dtype != torch.uint8:
            return picture
        from handgen.keypoints.overlay import draw_keypoints

        keypoints: Tensor = module.keypoints(obs.to(module.device)).cpu()
        return draw_keypoints(picture[None], keypoints, scale=1, radius=0.025)[0]


def write_mp4(frames: Tensor, path: Path, rate: float) -> Path:
    """Write a film.

    Args:
        frames: uint8 (T, 3, H, W).
        path: of the file.
        rate: frames per second.

    Raises:
        UserError: if this build of OpenCV cannot.
    """
    import cv2

    height, width = frames.shape[2:]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    if not writer.isOpened():
        raise UserError(f"cannot write {path}: this OpenCV has no MPEG-4 encoder")
    for frame in frames:
        writer.write(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()[:, :, ::-1]))
    writer.release()
    return path


def write_gif(frames: Tensor, path: Path, rate: float, largest: int = LARGEST_GIF) -> Path:
    """Write a film that a browser shows without being asked.

    Args:
        frames: uint8 (T, 3, H, W).
        path: of the file.
        rate: frames per second.
        largest: pixels of the larger side; larger frames are made smaller.
    """
    pictures = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames]
    share = min(1.0, largest / max(pictures[0].size))
    size = (round(pictures[0].width * share), round(pictures[0].height * share))
    # An octree: the usual palette has no colour left for the few pixels of a keypoint.
    palette = Image.Quantize.FASTOCTREE
    small = [picture.resize(size, Image.Resampling.LANCZOS).quantize(256, palette) for picture in pictures]
    small[0].save(path, save_all=True, append_images=small[1:], duration=round(1000 / rate), loop=0)
    return path
