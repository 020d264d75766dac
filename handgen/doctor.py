"""``handgen doctor``: what this machine can do, and what to install for what it cannot."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from handgen.errors import UserError
from handgen.opengl import EGL_PACKAGES, OSMESA_PACKAGES
from handgen.paths import cache_root, data_root
from handgen.processes import usable_cores

TIMEOUT_S = 60
LOW_DISK_GB = 5.0

# Each renders one frame in a process of its own: a backend is fixed at the first import, and may crash.
MUJOCO_FRAME = """
import mujoco
world = '<worldbody><light pos="0 0 3"/><geom size="0.2"/></worldbody>'
model = mujoco.MjModel.from_xml_string(f'<mujoco>{world}</mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 48, 64) as renderer:
    renderer.update_scene(data)
    assert renderer.render().max() > 0
"""
PYBULLET_FRAME = """
import pybullet
client = pybullet.connect(pybullet.DIRECT)
pybullet.createMultiBody(0, -1, pybullet.createVisualShape(pybullet.GEOM_SPHERE, radius=0.5))
view = pybullet.computeViewMatrix([0, -2, 0], [0, 0, 0], [0, 0, 1])
lens = pybullet.computeProjectionMatrixFOV(60, 1, 0.1, 10)
assert len(pybullet.getCameraImage(64, 48, view, lens, renderer=pybullet.ER_TINY_RENDERER)) == 5
"""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        name: What was examined.
        good: Whether it can be used.
        detail: What was found, or what to install.
    """

    name: str
    good: bool
    detail: str

    def __str__(self) -> str:
        """The line as printed."""
        return f"{'ok ' if self.good else '-- '} {self.name:<18} {self.detail}"


def examine() -> str:
    """Everything the doctor looks at, one line each; it never fails, whatever it finds."""
    checks: tuple[Callable[[], list[Finding]], ...] = (compute, storage, rendering, extras)
    lines = []
    for check in checks:
        try:
            lines += [str(finding) for finding in check()]
        except Exception as error:  # a doctor that dies helps nobody
            lines.append(str(Finding(check.__name__, False, f"could not be examined: {error}")))
    return "\n".join(lines)


def compute() -> list[Finding]:
    """Python, torch, threads and GPU."""
    import torch

    gpu = torch.cuda.is_available()
    threads = f"{torch.get_num_threads()} threads on {usable_cores()} cores (set with --threads or OMP_NUM_THREADS)"
    absent = "none visible to torch: experiments run on the CPU, those in experiments/paper would take days"
    return [
        Finding("python", sys.version_info >= (3, 11), platform.python_version()),
        Finding("torch", True, f"{torch.__version__}, {threads}"),
        Finding("GPU", gpu, torch.cuda.get_device_name() if gpu else absent),
    ]


def storage() -> list[Finding]:
    """Free disk space, cache and real data."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    cache, data = cache_root(), data_root()
    sets = sorted(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
    missing = f"no data set under {data}/ (optional: set HANDGEN_DATA; without it the rendered hands are used)"
    return [
        Finding("disk", free > LOW_DISK_GB, f"{free:.0f} GB free here"),
        Finding("cache", True, f"{cache} (HANDGEN_CACHE){'' if cache.is_dir() else ', created when needed'}"),
        Finding("real data", bool(sets), f"{data}: {', '.join(sets)}" if sets else missing),
    ]


def rendering() -> list[Finding]:
    """One frame with each rendering backend."""
    egl, osmesa = _renders(MUJOCO_FRAME, MUJOCO_GL="egl"), _renders(MUJOCO_FRAME, MUJOCO_GL="osmesa")
    return [
        _rendering("mujoco EGL", egl, f'apt-get install -y {EGL_PACKAGES}, and pip install -e ".[rl]"'),
        _rendering(
            "mujoco OSMesa",
            osmesa,
            f"apt-get install -y {OSMESA_PACKAGES}{' (not needed: EGL works)' if not egl else ''}",
        ),
        _rendering("pybullet", _renders(PYBULLET_FRAME), 'pip install -e ".[arm]" (wheels for Python 3.11; arm only)'),
    ]


def _rendering(name: str, problem: str, remedy: str) -> Finding:
    """The finding on one backend."""
    return Finding(name, not problem, f"{problem}: {remedy}" if problem else "rendered a frame")


def _renders(program: str, **environment: str) -> str:
    """Run a rendering program by itself; the line that names the error, empty if it worked."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no frame in {TIMEOUT_S} s"
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.strip().splitlines() if line[:1].strip() and "Error" in line]
    return errors[0][:90] if errors else f"exit code {done.returncode}"


def extras() -> list[Finding]:
    """Mode of wandb and the optional painting library."""
    mode = os.environ.get("WANDB_MODE", "offline")
    wandb = importlib.util.find_spec("wandb") is not None
    modes = "(WANDB_MODE=online syncs, disabled leaves it out)"
    return [
        Finding("wandb", wandb, f"mode {mode} {modes}" if wandb else "pip install wandb"),
        _paint(),
    ]


def _paint() -> Finding:
    """The optional painting library and its brushes."""
    from handgen.painter.mypaint import PACKAGES, brush_settings, load_library

    try:
        load_library()
        brush_settings("pen")
    except UserError as error:
        return Finding("libmypaint", False, f"{error} (optional: apt-get install -y {PACKAGES})")
    return Finding("libmypaint", True, "with its brushes")
