"""Which OpenGL draws the frames: chosen once, before MuJoCo is imported, on machines with or without a display."""

from __future__ import annotations

import ctypes
import os
import sys

from handgen.errors import UserError

EGL_PACKAGES = "libegl1 libgl1 libgl1-mesa-dri"
OSMESA_PACKAGES = "libosmesa6"

# Of the extensions EGL_EXT_platform_device and EGL_EXT_device_enumeration.
EGL_PLATFORM_DEVICE = 0x313F
MOST_DEVICES = 10


def choose_backend() -> str:
    """Set ``MUJOCO_GL`` where it is unset: EGL where a device answers, else OSMesa.

    MuJoCo and dm_control read the variable when they are imported and fix PyOpenGL's platform with it, so this comes
    first. It costs milliseconds: libraries are asked, nothing is drawn. macOS and Windows draw without it.

    Returns:
        The value of ``MUJOCO_GL``, empty where the system's own choice is left alone.

    Raises:
        UserError: if neither works, with the packages to install.
    """
    chosen = os.environ.get("MUJOCO_GL", "")
    if chosen or not sys.platform.startswith("linux"):
        return chosen
    for name, works in (("egl", egl_works), ("osmesa", osmesa_works)):
        if works():
            os.environ["MUJOCO_GL"] = name
            return name
    raise UserError(
        f"no OpenGL to render with: apt-get install -y {EGL_PACKAGES} (EGL), or {OSMESA_PACKAGES} (OSMesa, slower)"
    )


def egl_works() -> bool:
    """Whether EGL opens a display on a device, of a GPU or in software, without a screen."""
    if not (_library("libOpenGL.so.0") or _library("libGL.so.1")):  # EGL makes contexts, these hold the calls
        return False
    egl = _library("libEGL.so.1")
    if egl is None:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    addresses = [egl.eglGetProcAddress(name) for name in (b"eglQueryDevicesEXT", b"eglGetPlatformDisplayEXT")]
    if not all(addresses):
        return False
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    query = ctypes.CFUNCTYPE(integer, integer, ctypes.POINTER(pointer), ctypes.POINTER(integer))(addresses[0])
    display_of = ctypes.CFUNCTYPE(pointer, integer, pointer, pointer)(addresses[1])
    egl.eglInitialize.argtypes = [pointer, pointer, pointer]
    devices, found = (pointer * MOST_DEVICES)(), integer()
    if not query(MOST_DEVICES, devices, ctypes.byref(found)):
        return False
    displays = (display_of(EGL_PLATFORM_DEVICE, device, None) for device in devices[: found.value])
    # Displays stay open: EGL hands out the same ones to MuJoCo, and the process closes them.
    return any(display and egl.eglInitialize(display, None, None) for display in displays)


def osmesa_works() -> bool:
    """Whether the library that renders into plain memory is there."""
    names = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")
    return any(hasattr(library, "OSMesaCreateContextExt") for library in map(_library, names) if library)


def _library(name: str) -> ctypes.CDLL | None:
    """A shared library, None where it is absent."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
