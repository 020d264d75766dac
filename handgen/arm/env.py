"""``handgen/ArmImitation-v0``: a robot hand that is shown a hand and rewarded for looking like it, for Gymnasium.

The environment of *Hand Imitation* and gym-handOfJustice (hex-plex, 2020), rebuilt; docs/arm.md lists what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from handgen.arm.body import HIGH, JOINTS, LOW, SIDEWAYS
from handgen.arm.feeds import Feed, open_feed, usable_target
from handgen.arm.order import ShuffledOrder
from handgen.arm.overlay import VIDEO_SIZE, side_by_side
from handgen.arm.segmentation import Segmenter
from handgen.arm.simulator import ArmSimulator
from handgen.arm.target import Target
from handgen.errors import UserError, check_ranges

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Observe = Literal["pictures", "masks", "dict"]
Reward = Literal["pixels", "iou", "mix"]
CHOICES = {
    "observe": ("pictures", "masks", "dict"),
    "reward": ("pixels", "iou", "mix"),
    "action": ("absolute", "increments"),
    "renderer": ("bullet", "drawn"),
}
LARGEST_INCREMENT = 0.4
"""Radians in one decision, of ``action: increments``."""
MOTION_COST = 0.02
"""Of a radian of mean joint motion, in units of IoU, of ``reward: mix``."""
LARGEST_MISSES = 100
"""Pictures without a hand after which a camera, which has no end, is given up."""


class ArmImitation(gymnasium.Env[Any, NDArray[np.float32]]):
    """An arm of twelve joints before a camera, and the picture of a hand to imitate.

    A *decision* sets twelve joint targets and lets the simulation settle. Every episode has one target. It terminates
    when at most ``epsilon`` pixels differ (success) and is cut off after ``episode_decisions``. Targets come in a
    shuffled order, each once before any comes again; a film's in its own.

    Observations, the target on the left and the arm as its camera sees it on the right, uint8 (C, H, 2 H): ``observe:
    pictures`` in colour (C = 3, as published, channels first), ``masks`` their silhouettes (C = 1, 0 or 255); ``dict``
    gives ``target``, ``robot`` (3, H, H) and the joint angles ``joints`` (12,), in radians.

    Actions: ``absolute`` joint angles in radians, as published, or ``increments`` of at most 0.4. Order: `JOINTS`.

    Rewards of a decision, from masks of the whole picture: ``pixels`` minus the number of pixels that differ (as
    published), ``iou`` intersection over union in [0, 1], ``mix`` that minus a small cost of motion; all times
    ``reward_scale``.

    ``info``: ``mismatch`` (share of pixels), ``iou``, ``success``, ``joints`` (12,), ``target_index``, ``dataset``, and
    ``joint_error`` (mean over joints, radians) where the truth is known.

    All randomness comes from ``np_random``; `state_dict` holds where the order of targets is.

    Args:
        feed: what to imitate, or several (one of them is drawn for each episode): `handgen.arm.feeds.open_feed`.
        split: ``train``, ``val``, ``test`` or ``all``.
        count: targets of ``rendered`` and ``synthetic``; 0 takes their own.
        size: height and width H of a picture.
        observe: see above.
        action: see above.
        reward: see above.
        reward_scale: see above.
        epsilon: pixels; published as 150, and 200 and 300 in training, of 56 x 56.
        episode_decisions: time limit; published as 1000.
        substeps: steps of the simulation in a decision, 1/60 s each.
        renderer: ``bullet`` renders with PyBullet; ``drawn`` draws masks from the joint angles, several times faster,
            for ``observe: masks``.
        segmenter: finds hands in pictures: ``robust`` or the published ``lab``.
        mirror: put the thumb on the right, of arm and targets.
        urdf: file of another arm with the same joints.
        share: of the targets, this environment's, counted from 0. shares: number of shares.
        render_mode: ``rgb_array`` (target, arm and both masks side by side), ``human`` (PyBullet's window) or None.

    Raises:
        UserError: if a setting makes no sense, or feed, URDF or display are not there.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 4}  # noqa: RUF012  # Gymnasium's name and type

    def __init__(
        self,
        feed: str | Sequence[str] = "rendered",
        split: str = "train",
        count: int = 0,
        size: int = 56,
        observe: Observe = "pictures",
        action: Literal["absolute", "increments"] = "absolute",
        reward: Reward = "pixels",
        reward_scale: float = 1.0,
        epsilon: int = 150,
        episode_decisions: int = 4,
        substeps: int = 4,
        renderer: Literal["bullet", "drawn"] = "bullet",
        segmenter: Segmenter = "robust",
        mirror: bool = False,
        urdf: str | None = None,
        share: int = 0,
        shares: int = 1,
        render_mode: str | None = None,
    ) -> None:
        chosen = {"observe": observe, "reward": reward, "action": action, "renderer": renderer}
        check_choices(chosen, size, epsilon, episode_decisions, substeps)
        check_ranges(count=(count, count >= 0, "not be negative"))
        if renderer == "drawn" and (observe != "masks" or urdf is not None):
            raise UserError("renderer=drawn knows masks of our own arm alone: use observe=masks without urdf")
        if mirror and urdf is not None:
            raise UserError("mirror=true turns our own arm alone: leave it out with urdf, or write a mirrored file")
        self.size, self.observe, self.reward, self.reward_scale = size, observe, reward, reward_scale
        self.action, self.epsilon, self.substeps = action, epsilon, substeps
        self.episode_decisions, self.renderer, self.mirror = episode_decisions, renderer, mirror
        self.render_mode = render_mode
        names = [feed] if isinstance(feed, str) else list(feed)
        if not names:
            raise UserError("the feed is empty: name one, for example feed=rendered")
        self.simulator = ArmSimulator(mirror=mirror, gui=render_mode == "human", urdf=urdf)
        # Rendered targets come from an arm of their own: placing this one would disturb it.
        self.poser = ArmSimulator(urdf=urdf) if "rendered" in names and renderer == "bullet" else None
        try:
            self.feeds: list[Feed] = [open_feed(name, split, segmenter, self.poser, count) for name in names]
            if sum(feed.in_order for feed in self.feeds) and len(self.feeds) > 1:
                raise UserError("a film or a camera is a feed of its own: it cannot be mixed with others")
        except BaseException:
            self.close()
            raise
        self.orders = [ShuffledOrder(len(feed), share, shares) for feed in self.feeds]
        self.began = False
        self.low, self.high = np.array(LOW, np.float32), np.array(HIGH, np.float32)
        bound = np.full(len(JOINTS), LARGEST_INCREMENT, np.float32)
        low, high = (self.low, self.high) if action == "absolute" else (-bound, bound)
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.observation_space = self._space()
        self.shown = -1
        self.decisions = 0

    def _space(self) -> gymnasium.Space[Any]:
        """The space of observations."""

        def pixels(channels: int, width: int) -> gymnasium.spaces.Box:
            return gymnasium.spaces.Box(0, 255, (channels, self.size, width), np.uint8)

        if self.observe != "dict":
            return pixels(3 if self.observe == "pictures" else 1, 2 * self.size)
        # A settled joint may overshoot its limit by rounding.
        angles = gymnasium.spaces.Box(self.low - 0.1, self.high + 0.1, dtype=np.float32)
        return gymnasium.spaces.Dict(target=pixels(3, self.size), robot=pixels(3, self.size), joints=angles)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode: the arm goes to rest, upright and open, and a target is shown.

        Args:
            seed: of ``np_random``.
            options: ``index``, the number of the target in the (first) feed, instead of the next in the order;
                ``keep_pose`` leaves the arm as it is.

        Raises:
            UserError: if the feed has ended, or shows no hand.
        """
        super().reset(seed=seed)
        if seed is not None or not self.began:
            for order in self.orders:
                order.begin(int(self.np_random.integers(2**31)))
            self.began = True
        self.decisions = 0
        self.feed, self.target_index, self.target = self._next_target((options or {}).get("index"))
        if not (options or {}).get("keep_pose"):
            self.simulator.place(np.zeros(len(JOINTS)))
        self.joints = self.simulator.joints()
        self._look()
        return self._observation(), self._info()

    def _next_target(self, index: int | None) -> tuple[Feed, int, Target]:
        """The target of this episode."""
        chosen = int(self.np_random.integers(len(self.feeds))) if index is None else 0
        feed = self.feeds[chosen]
        if feed.in_order:
            self.shown = self.shown + 1 if index is None else int(index)
            target = self._following(feed)
            return feed, self.shown, self._sided(target)
        number = self.orders[chosen].next() if index is None else int(index)
        return feed, number, self._sided(usable_target(feed, number, self.size))

    def _following(self, feed: Feed) -> Target:
        """The next picture of a film that shows a hand.

        Raises:
            UserError: if there is none, or a camera shows none for a while.
        """
        misses, reason = 0, ""
        while len(feed) or misses < LARGEST_MISSES:
            try:
                return feed.target(self.shown, self.size)
            except ValueError as error:
                self.shown, misses, reason = self.shown + 1, misses + 1, str(error)
            except IndexError:
                if misses and misses == self.shown:
                    raise UserError(f"the feed {feed.name} shows no hand in {misses} pictures: {reason}") from None
                raise UserError(f"the feed {feed.name} has ended after {self.shown} pictures") from None
        raise UserError(f"the feed {feed.name} shows no hand in {misses} pictures: {reason}")

    def _sided(self, target: Target) -> Target:
        """The target, mirrored where the arm is."""
        if not self.mirror:
            return target
        joints = None if target.joints is None else target.joints.copy()
        if joints is not None:
            joints[SIDEWAYS:] *= -1.0  # in a mirror the digits bend alike, and the arm leans to the other side
        picture = np.ascontiguousarray(target.picture[:, ::-1])
        return Target(picture, np.ascontiguousarray(target.mask[:, ::-1]), joints)

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Set joint targets and let the arm settle.

        Raises:
            UserError: if an action is not finite.
        """
        if not np.isfinite(action).all():
            raise UserError(f"an action must be finite numbers, not {np.asarray(action).tolist()}")
        before = self.joints
        wanted = before + action if self.action == "increments" else np.asarray(action, np.float64)
        self.simulator.move(np.clip(wanted, self.low, self.high), self.substeps)
        self.joints = self.simulator.joints()
        self._look()
        self.decisions += 1
        info = self._info()
        reward = self._reward(info, float(np.abs(self.joints - before).mean()))
        success = bool(info["success"])
        return self._observation(), reward, success, self.decisions >= self.episode_decisions and not success, info

    def _look(self) -> None:
        """Take the camera's picture and mask."""
        if self.renderer == "drawn":
            self.robot_picture, self.robot_mask = None, self.simulator.mask(self.size)
        else:
            self.robot_picture, self.robot_mask = self.simulator.camera(self.size)
        self.differ = int(np.count_nonzero(self.robot_mask ^ self.target.mask))
        self.union = int(np.count_nonzero(self.robot_mask | self.target.mask))

    def _reward(self, info: dict[str, Any], motion: float) -> float:
        """See the class."""
        reward = {
            "pixels": -float(self.differ),
            "iou": info["iou"],
            "mix": info["iou"] - MOTION_COST * motion,
        }[self.reward]
        return float(reward) * self.reward_scale

    def _observation(self) -> Any:
        """See the class."""
        if self.observe == "masks":
            both = np.concatenate([self.target.mask, self.robot_mask], axis=1)
            return both[None].astype(np.uint8) * np.uint8(255)
        assert self.robot_picture is not None
        target, robot = (np.moveaxis(picture, 2, 0) for picture in (self.target.picture, self.robot_picture))
        if self.observe == "pictures":
            return np.concatenate([target, robot], axis=2)
        parts = {"target": target, "robot": robot}
        return {name: np.ascontiguousarray(part) for name, part in parts.items()} | {
            "joints": self.joints.astype(np.float32)
        }

    def _info(self) -> dict[str, Any]:
        """See the class."""
        info: dict[str, Any] = {
            "mismatch": self.differ / self.size**2,
            "iou": 1.0 - self.differ / max(1, self.union),
            "success": self.differ <= self.epsilon,
            "joints": self.joints.copy(),
            "target_index": self.target_index,
            "dataset": self.feed.name,
        }
        if self.target.joints is not None:
            info["joint_error"] = float(np.abs(self.joints - self.target.joints).mean())
        return info

    def render(self) -> Image | None:
        """Target, arm, and both masks over each other, uint8 (224, 672, 3)."""
        if self.render_mode != "rgb_array":
            return None
        picture = self.robot_picture if self.robot_picture is not None else self.simulator.camera(VIDEO_SIZE)[0]
        return side_by_side(self.target, picture, self.robot_mask, VIDEO_SIZE)

    def state_dict(self) -> dict[str, Any]:
        """Where the order of targets is; the rest of an episode follows from ``np_random`` and the actions."""
        return {"orders": [[order.seed, order.taken] for order in self.orders]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in a saved order."""
        self.began = True
        for order, (seed, taken) in zip(self.orders, state["orders"], strict=True):
            order.seed, order.taken = seed, taken

    def close(self) -> None:
        """Close the simulations."""
        for simulator in (self.simulator, self.poser):
            if simulator is not None:
                simulator.close()


def check_choices(chosen: Mapping[str, str], size: int, epsilon: int, episode_decisions: int, substeps: int) -> None:
    """See `ArmImitation`.

    Raises:
        UserError: on the first setting that makes no sense.
    """
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise UserError(f"unknown {name} {value!r}: choose from {', '.join(CHOICES[name])}")
    check_ranges(
        size=(size, size >= 16, "be at least 16"),
        epsilon=(epsilon, epsilon >= 0, "not be negative"),
        episode_decisions=(episode_decisions, episode_decisions >= 1, "be at least 1"),
        substeps=(substeps, substeps >= 1, "be at least 1"),
    )
