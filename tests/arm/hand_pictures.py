"""Drawn hands as photographs on paper or cloth, with their masks."""

from pathlib import Path

import cv2
import numpy as np
from hand_photos import write_csv

from handgen.anatomy import render_hands


def hands(count: int, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, H, W, 3) and hand-made masks (N, H, W) of drawn hands, without sleeves."""
    drawn = render_hands(range(40, 40 + count), seed=1, size=size)
    return drawn.image.permute(0, 2, 3, 1).numpy(), drawn.mask[:, 0].numpy() > 127


def on(background: np.ndarray, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A hand cut out and put on something else, with soft edges."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.6)[..., None]
    return (image * soft + background * (1 - soft)).round().astype(np.uint8)


def backgrounds(size: int = 128) -> dict[str, np.ndarray]:
    """White paper with a shadow at its edge, and plain cloth with its weave."""
    rng = np.random.default_rng(0)
    fade = np.linspace(1.0, 0.85, size)[None, :, None]
    paper = np.full((size, size, 3), 248.0) * fade
    cloth = np.array([40.0, 70.0, 110.0]) + rng.normal(0, 4, (size, size, 1))
    return {"paper": paper + rng.normal(0, 1, paper.shape), "cloth": cloth}


def write_hands(folder: Path, count: int = 3) -> None:
    images, masks = hands(count)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        picture = on(backgrounds()["paper"], image, mask)
        cv2.imwrite(str(folder / f"hand_{number:04d}.png"), np.ascontiguousarray(picture[..., ::-1]))


def write_photographs(root: Path, persons: int = 24) -> None:
    """Made-up photographs in the layouts of 11k Hands (a left and a right one of each person) and signed digits."""
    images, masks = hands(2)
    pictures = [on(backgrounds()["paper"], image, mask)[..., ::-1] for image, mask in zip(images, masks, strict=True)]
    rows = []
    (root / "hands11k" / "Hands").mkdir(parents=True)
    for number in range(2 * persons):
        name, aspect = f"Hand_{number:07d}.jpg", ("dorsal right", "dorsal left")[number % 2]
        cv2.imwrite(str(root / "hands11k" / "Hands" / name), np.ascontiguousarray(pictures[number % 2]))
        person = {"id": number // 2, "age": 30, "gender": "female", "skinColor": "fair", "aspectOfHand": aspect}
        rows.append({**person, "imageName": name, "accessories": 0, "nailPolish": 0, "irregularities": 0})
        path = root / "sign_digits" / str(number % 2) / f"IMG_{1000 + 10 * (number // 2) + number % 2}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.ascontiguousarray(pictures[number % 2]))
    write_csv(root / "hands11k" / "HandInfo.csv", rows)
