"""``handgen/CartpolePixels-v0``: tasks of the dm_control suite as stacks of rendered frames, for Gymnasium.

The suite: Tunyasuvunakool et al., *dm_control: Software and tasks for continuous control*, 2020, arXiv:2006.12983.
Frames as in Yarats et al., *Improving Sample Efficiency in Model-Free Reinforcement Learning from Images*, AAAI 2021,
section 5.1: 84 x 84, three of them stacked, each action repeated (8 times on cart-pole).
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
from collections import deque
from typing import Any, Literal

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

from handgen.errors import UserError
from handgen.opengl import choose_backend

Image = NDArray[np.uint8]
Info = dict[str, Any]

SMALLEST_IMAGE = 16
UNLIMITED_ENV_STEPS = 1000
"""Of an episode of a task without a time limit, as many as those of the others have."""
FAST_FLAGS = {"shadow": False, "reflection": False}


class PixelSuite(gymnasium.Env[NDArray[Any], NDArray[np.float32]]):
    """A task of the suite, seen through its camera.

    An *environment step* is one step of the task's control (0.01 s on cart-pole), a *decision* is ``action_repeat`` of
    them with the same action; their rewards, each in [0, 1], are summed. Episodes are cut off after 1000 environment
    steps (cart-pole: 125 decisions) by the task's own time limit, which truncates and does not terminate; so are those
    of the few tasks that have none.

    Observations: ``observe: pixels`` gives the last ``frame_stack`` RGB frames, newest last, uint8 (3 frame_stack, H,
    W), the first frame of an episode repeated at its start; ``observe: state`` gives the numbers that the task shows,
    float32 (n,), and needs no OpenGL.

    ``info`` holds ``physics_state`` (what `reset` takes back), ``position`` and ``velocity`` in MuJoCo's generalised
    coordinates (metres, radians, per second), float64; on cart-pole also ``x``, the cart's position in metres (the
    camera sees about -1.66 to 1.66), and ``angle``, the pole's, in (-pi, pi], 0 upright.

    All randomness comes from ``np_random``: each episode draws the seed of the task's own generator from it.

    Args:
        domain: domain of the suite.
        task: task of that domain.
        size: height and width H = W of a frame.
        frame_stack: frames in an observation.
        action_repeat: environment steps of a decision.
        camera: number of the camera.
        render: ``paper`` draws as dm_control does by default, which published figures were made with; ``fast`` leaves
            out shadows, reflections and multisampling, at a twentieth of the time on a CPU.
        supersampling: each pixel is the mean of so many squared; smooth edges for ``fast`` frames.
        observe: ``pixels`` or ``state``.
        video_size: height and width of what `render` returns.
        render_mode: ``rgb_array`` or None.

    Raises:
        UserError: if there is no such task or camera, a setting makes no sense, or nothing can render.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}  # noqa: RUF012  # Gymnasium's own name and type

    def __init__(
        self,
        domain: str = "cartpole",
        task: str = "swingup",
        size: int = 84,
        frame_stack: int = 3,
        action_repeat: int = 8,
        camera: int = 0,
        render: Literal["fast", "paper"] = "fast",
        supersampling: int = 1,
        observe: Literal["pixels", "state"] = "pixels",
        video_size: int = 256,
        render_mode: str | None = None,
    ) -> None:
        check_settings(size, frame_stack, action_repeat, camera, render, supersampling, observe)
        draws = observe == "pixels" or render_mode is not None
        with contextlib.nullcontext() if draws else contextlib.suppress(UserError):
            choose_backend()  # for numbers too: without a choice, dm_control looks for a screen and complains
        self.frame_stack, self.action_repeat = frame_stack if observe == "pixels" else 1, action_repeat
        self.domain, self.size, self.camera, self.supersampling = domain, size, camera, supersampling
        self.flags = FAST_FLAGS if render == "fast" else {}
        self.observe, self.video_size, self.render_mode = observe, video_size, render_mode
        # Reseeded at every episode; the fixed seed is for tasks that build their model with it.
        self.task_random = np.random.RandomState(0)  # the generator that dm_control's tasks take
        self.suite_task = load_task(domain, task, self.task_random)
        self.physics = self.suite_task.physics
        self._prepare_rendering(fast=render == "fast")
        self._cameras: dict[int, Any] = {}
        self._frames: deque[Image] = deque(maxlen=self.frame_stack)
        self._shown = self.suite_task.reset()
        decision_s = self.suite_task.control_timestep() * action_repeat
        self.metadata = {**self.metadata, "render_fps": max(1, round(1 / decision_s))}
        bounds = self.suite_task.action_spec()
        low, high = (
            np.broadcast_to(edge, bounds.shape).astype(np.float32) for edge in (bounds.minimum, bounds.maximum)
        )
        self.low, self.high = low, high
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.observation_space = self._space()

    def _prepare_rendering(self, fast: bool) -> None:
        """Settle what MuJoCo fixes when it draws for the first time.

        Raises:
            UserError: if there is no such camera.
        """
        if not 0 <= self.camera < self.physics.model.ncam:
            raise UserError(f"camera {self.camera}: this task has cameras 0 to {self.physics.model.ncam - 1}")
        visual = self.physics.model.vis
        largest = max(self.size, self.video_size if self.render_mode else 0) * self.supersampling
        visual.global_.offwidth = max(visual.global_.offwidth, largest)
        visual.global_.offheight = max(visual.global_.offheight, largest)
        if fast:
            visual.quality.offsamples = 0
            visual.quality.shadowsize = 0  # saves 18 MB an environment

    def _space(self) -> gymnasium.spaces.Box:
        """The space of observations."""
        if self.observe == "pixels":
            return gymnasium.spaces.Box(0, 255, (3 * self.frame_stack, self.size, self.size), np.uint8)
        return gymnasium.spaces.Box(-np.inf, np.inf, self._state().shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[Any], Info]:
        """Begin an episode.

        Args:
            seed: of ``np_random``.
            options: ``physics_state``, an ``info["physics_state"]`` to begin in instead of a state drawn by the task.
        """
        super().reset(seed=seed)
        self.task_random.seed(int(self.np_random.integers(2**32)))
        self._shown = self.suite_task.reset()
        if options and "physics_state" in options:
            with self.physics.reset_context():
                self.physics.set_state(np.asarray(options["physics_state"], np.float64))
            self._shown = self._shown._replace(observation=self.suite_task.task.get_observation(self.physics))
        if self.observe == "pixels":
            self._frames.extend([self._frame(self.size)] * self.frame_stack)
        return self._observation(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[Any], float, bool, bool, Info]:
        """Repeat one action; an end cuts the repeats short."""
        bounded = np.clip(np.asarray(action, np.float64), self.low, self.high)
        total = 0.0
        for _ in range(self.action_repeat):
            self._shown = self.suite_task.step(bounded)
            total += float(self._shown.reward)
            if self._shown.last():
                break
        if self.observe == "pixels":
            self._frames.append(self._frame(self.size))
        ended = bool(self._shown.last())
        terminated = ended and self._shown.discount == 0.0  # a time limit leaves the discount at 1
        return self._observation(), total, terminated, ended and not terminated, self._info()

    def render(self) -> Image | None:
        """The present, uint8 (video_size, video_size, 3)."""
        if self.render_mode is None:
            return None
        return np.ascontiguousarray(self._frame(self.video_size).transpose(1, 2, 0))

    def close(self) -> None:
        """Free the OpenGL context."""
        self._cameras.clear()
        self.physics.free()

    def _observation(self) -> NDArray[Any]:
        """The stack, uint8 (3 frame_stack, H, W), or the task's numbers, float32 (n,)."""
        return np.concatenate(self._frames) if self.observe == "pixels" else self._state()

    def _state(self) -> NDArray[np.float32]:
        """The numbers that the task shows, one after the other."""
        return np.concatenate([np.ravel(part) for part in self._shown.observation.values()]).astype(np.float32)

    def _frame(self, size: int) -> Image:
        """The camera's picture, uint8 (3, size, size)."""
        if size not in self._cameras:  # dm_control's own `render` makes one for each frame, at four times the cost
            self._cameras[size] = open_camera(self.physics, size * self.supersampling, self.camera)
        pixels = self._cameras[size].render(render_flag_overrides=self.flags)
        if self.supersampling > 1:
            pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)  # for whole factors, the mean
        frame: Image = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return frame

    def _info(self) -> Info:
        """Where everything is."""
        data = self.physics.data
        info: Info = {
            "physics_state": np.array(self.physics.get_state(), np.float64),
            "position": np.array(data.qpos, np.float64),
            "velocity": np.array(data.qvel, np.float64),
        }
        if self.domain == "cartpole" and len(data.qpos) == 2:  # more poles have relative angles
            x, angle = info["position"]
            info |= {"x": float(x), "angle": float(-((np.pi - angle) % (2 * np.pi) - np.pi))}
        return info


def check_settings(
    size: int, frame_stack: int, action_repeat: int, camera: int, render: str, supersampling: int, observe: str
) -> None:
    """See `PixelSuite`.

    Raises:
        UserError: on the first setting that makes no sense.
    """
    whole = {"size": size, "frame_stack": frame_stack, "action_repeat": action_repeat, "supersampling": supersampling}
    for name, number in {**whole, "camera": camera}.items():
        if not isinstance(number, int):
            raise UserError(f"{name} must be a whole number, not {number!r}")
    if size < SMALLEST_IMAGE:
        raise UserError(f"size: frames of {size} pixels show nothing, take {SMALLEST_IMAGE} or more")
    for name, count in whole.items():
        if count < 1:
            raise UserError(f"{name} must be 1 or more, not {count}")
    for name, value, choices in (("render", render, ("fast", "paper")), ("observe", observe, ("pixels", "state"))):
        if value not in choices:
            raise UserError(f"{name} must be {' or '.join(choices)}, not {value!r}")


def load_task(domain: str, task: str, random: Any) -> Any:
    """A ``dm_control.rl.control.Environment``.

    Args:
        domain: domain of the suite.
        task: task of that domain.
        random: the generator that it draws from.

    Raises:
        UserError: if there is no such task, with those of similar names, or dm_control does not load.
    """
    try:
        from dm_control import suite
    except ModuleNotFoundError as error:
        raise UserError(f"tasks of the suite need {error.name}: pip install -c constraints.txt -e '.[rl]'") from error
    except (ImportError, RuntimeError, AttributeError) as error:  # PyOpenGL raises AttributeError without a library
        choice = os.environ.get("MUJOCO_GL", "")
        raise UserError(f"MUJOCO_GL={choice} does not work ({error}): unset it, or ask `handgen doctor`") from error
    known = [f"{one} {other}" for one, other in suite.ALL_TASKS]
    asked = f"{domain} {task}"
    if asked not in known:
        near = [name for name in known if name.startswith(f"{domain} ")] or difflib.get_close_matches(
            asked, known, 5, 0.4
        )
        raise UserError(f"the suite has no task {asked!r}: there is {', '.join(near or known)}")
    loaded = suite.load(domain, task, task_kwargs={"random": random})
    if not math.isinf(loaded._step_limit):
        return loaded
    limit_s = UNLIMITED_ENV_STEPS * loaded.control_timestep()
    return suite.load(domain, task, task_kwargs={"random": random, "time_limit": limit_s})


def open_camera(physics: Any, size: int, number: int) -> Any:
    """A ``dm_control.mujoco.Camera`` that has drawn a first frame.

    Args:
        physics: what it looks at.
        size: height and width in pixels.
        number: which of the model's cameras.

    Raises:
        UserError: if no OpenGL context can be made.
    """
    import mujoco
    from dm_control.mujoco import Camera

    try:
        camera = Camera(physics, height=size, width=size, camera_id=number)
        camera.render()
    except (mujoco.FatalError, RuntimeError, ImportError, AttributeError) as error:
        choice = os.environ.get("MUJOCO_GL", "")
        raise UserError(
            f"cannot render with MUJOCO_GL={choice} ({error}): unset it, or ask `handgen doctor`"
        ) from error
    return camera
