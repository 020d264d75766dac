"""Films of an episode: as long as it was, with the method's keypoints on them."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from handgen.callbacks.episode_video import EpisodeVideo, write_gif, write_mp4

ENV_ID = "handgen-tests/Film-v0"


class Film(gymnasium.Env[np.ndarray, np.ndarray]):
    """Black pictures, seven decisions."""

    observation_space = gymnasium.spaces.Box(0, 255, (3, 16, 16), np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = 7
        return np.zeros((3, 16, 16), np.uint8), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.left -= 1
        return np.zeros((3, 16, 16), np.uint8), 0.0, False, self.left == 0, {}

    def render(self) -> np.ndarray:
        return np.zeros((64, 64, 3), np.uint8)


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point=Film)


class Still:
    """Does nothing."""

    device = torch.device("cpu")

    def act(self, obs: Tensor, deterministic: bool) -> Tensor:
        assert deterministic
        return torch.zeros(1, 1)


class Looks(Still):
    """Sees a point on the right."""

    def keypoints(self, obs: Tensor) -> Tensor:
        return torch.tensor([[[0.5, 0.0]]])


def test_a_film_is_as_long_as_the_episode_and_shows_keypoints() -> None:
    frames, rate = EpisodeVideo().film(Still(), ENV_ID, {}, 1)
    assert (frames.shape, rate, int(frames.max())) == ((7, 3, 64, 64), 5.0, 0)
    frames, _ = EpisodeVideo(largest=3).film(Looks(), ENV_ID, {}, 1)
    assert len(frames) == 3
    assert frames[0, :, 32, 48].max() > 150 and frames[0, :, 32, 16].max() == 0
    assert len(EpisodeVideo(episodes=3).film(Still(), ENV_ID, {}, 1)[0]) == 21


def test_films_can_be_read_again(tmp_path: Path) -> None:
    import cv2

    frames = torch.zeros(6, 3, 400, 400, dtype=torch.uint8)
    frames[3:] = 200
    film = cv2.VideoCapture(str(write_mp4(frames, tmp_path / "episode.mp4", 5.0)))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    with Image.open(write_gif(frames, tmp_path / "episode.gif", 5.0)) as gif:
        assert gif.size == (192, 192)
        assert gif.n_frames == 2  # equal pictures are one that stays longer
