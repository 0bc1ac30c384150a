"""Synthetic B-mode images of the eight tasks: enough anatomy to be recognised, and to be learnt.

An organ is drawn as a map of echo levels in dB below white; `b_mode` adds what a scanner adds:
Rayleigh speckle as wide as the beam, attenuation, uneven contact and log compression.
Lengths are in half image widths: x runs from -1 to 1, y from 0 at the probe downwards.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Map = NDArray[np.float32]  # (H, W)
Mask = NDArray[np.bool_]  # (H, W)
Image = NDArray[np.uint8]  # (H, W) grey, (H, W, 3) RGB

DYNAMIC_RANGE_DB = 60.0  # from black to white, a scanner's usual setting
ANECHOIC_DB = -58.0  # clear fluid: urine, cysts, amniotic fluid
BLOOD_DB = -50.0

# ------------------------------------------------------------------------------ probe and speckle


@dataclass(frozen=True, eq=False)
class View:
    """The pixels of one picture in the plane of a probe."""

    x: Map
    y: Map
    beam: Map  # 0 to 1 across the aperture: the beam that passes the pixel
    reach: Map  # distance from the probe's surface along it
    inside: Mask  # scanned at all


def linear(width: int, height: int) -> View:
    """Parallel beams, the whole picture scanned: breast and neck."""
    x, y = _plane(width, height)
    return View(x, y, np.asarray((x + 1) / 2, np.float32), y, np.ones(x.shape, np.bool_))


def sector(width: int, height: int, half_angle: float, apex: float, near: float) -> View:
    """A fan of beams from `apex` (its y, above the probe) that fills the picture downwards.

    Args:
        width: pixels.
        height: pixels.
        half_angle: of the fan, radians.
        apex: y where the beams would meet, at most 0.
        near: radius of the probe's surface around the apex; 0 for a phased array.
    """
    x, y = _plane(width, height)
    radius, angle = np.hypot(x, y - apex), np.arctan2(x, y - apex)
    inside = (np.abs(angle) < half_angle) & (radius > near) & (radius < y.max() - apex)
    beam = np.asarray((angle / half_angle + 1) / 2, np.float32)
    return View(x, y, beam, np.asarray(radius - near, np.float32), inside)


def phased_array(width: int, height: int) -> View:
    """The heart's probe: beams from one point, a sector that just fits the picture."""
    return sector(width, height, float(np.arcsin(min(width / height / 2, 1))), apex=0, near=0)


def _plane(width: int, height: int) -> tuple[Map, Map]:
    across, down = np.arange(width) + 0.5, np.arange(height) + 0.5
    x, y = np.meshgrid(2 * across / width - 1, 2 * down / width)
    return x.astype(np.float32), y.astype(np.float32)


def speckle(rng: Generator, view: View) -> Map:
    """Fully developed speckle in dB about its mean power, correlated over the beam's width."""
    height, width = view.x.shape
    looks = 2  # compounded, each a complex echo of its own scatterers
    field = rng.standard_normal((height, width, 2 * looks), np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigmaX=width / 110, sigmaY=width / 220)
    column, row = view.beam * (width - 1), view.reach / view.reach.max() * (height - 1)
    field = cv2.remap(field, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    power = np.square(field).sum(axis=2)
    return np.asarray(10 * np.log10(np.maximum(power / power.mean(), 1e-3)), np.float32)


def b_mode(
    rng: Generator, view: View, echo: Map, *, attenuation: float = 5.0, gain: float = 0.0
) -> Image:
    """What the scanner shows of `echo` (dB): (H, W) grey, black outside the scanned area.

    Args:
        rng: draws speckle and contact.
        view: the probe.
        echo: levels in dB below white.
        attenuation: dB per half width of depth left after the scanner's compensation.
        gain: dB added to everything.
    """
    echo = cv2.GaussianBlur(echo, (0, 0), view.x.shape[1] / 180)  # no edge is sharper than a pulse
    contact = 2 * np.interp(view.beam, np.linspace(0, 1, 7), rng.standard_normal(7))
    level = echo + speckle(rng, view) - attenuation * view.reach + contact + gain
    grey = np.clip(255 * (1 + level / DYNAMIC_RANGE_DB), 0, 255)
    return np.where(view.inside, grey, 0).astype(np.uint8)


def behind(view: View, mask: Mask) -> Mask:
    """What the beams reach after `mask`: where it throws its shadow or its enhancement."""
    beams = view.x.shape[1]
    beam = np.clip(view.beam * beams, 0, beams - 1).astype(np.intp)
    first = np.full(beams, np.inf)
    np.minimum.at(first, beam[mask], view.reach[mask])
    return np.asarray((view.reach > first[beam]) & ~mask & view.inside)


# ------------------------------------------------------------------------------ shapes and tissue


def ellipse(x: Map, y: Map, cx: float, cy: float, a: float, b: float, angle: float = 0.0) -> Map:
    """Radius in units of the ellipse: below 1 inside, 1 on its border."""
    u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    return np.asarray(np.hypot(u / a, v / b), np.float32)


def blob(
    rng: Generator, x: Map, y: Map, cx: float, cy: float, a: float, b: float, roughness: float
) -> Map:
    """`ellipse` whose border wanders by about the share `roughness` of its radius."""
    theta = np.arctan2((y - cy) / b, (x - cx) / a)
    order = np.arange(2, 8)
    height = rng.standard_normal(order.size) * 2 * roughness / order
    phase = rng.uniform(0, 2 * np.pi, order.size)
    border = 1 + sum(
        h * np.cos(k * theta + p) for k, h, p in zip(order, height, phase, strict=True)
    )
    return np.asarray(ellipse(x, y, cx, cy, a, b) / np.maximum(border, 0.5), np.float32)


def texture(rng: Generator, view: View, across: float, down: float) -> Map:
    """Smooth noise of mean 0 and deviation 1 with features of these lengths."""
    height, width = view.x.shape
    knots = (int(2 * height / width / down) + 3, int(2 / across) + 3)
    noise = rng.standard_normal(knots, np.float32)
    noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def strands(rng: Generator, view: View, across: float, down: float) -> Map:
    """Thin curved lines, 1 on the line and 0 off it: fasciae and ligaments."""
    return np.asarray(np.exp(-np.square(texture(rng, view, across, down) / 0.12)), np.float32)


# ------------------------------------------------------------------------------------- the organs


def breast(
    rng: Generator, width: int, height: int, lesions: int = 1, *, malignant: bool = False
) -> tuple[Image, list[Mask]]:
    """Skin, fat, gland and muscle, with hypoechoic masses in the gland; a mask for each."""
    view = linear(width, height)
    depth = view.y / view.y.max() * (1 + 0.12 * texture(rng, view, 0.5, 2.0))
    fat, gland, muscle = 0.07, rng.uniform(0.2, 0.32), rng.uniform(0.72, 0.85)
    echo = np.select(
        [depth < fat, depth < gland, depth < muscle],
        [np.float32(-16), np.float32(-34), np.float32(-24)],
        np.float32(-32),
    )
    echo = echo + 3 * texture(rng, view, 0.18, 0.04) + 9 * strands(rng, view, 0.35, 0.06)
    for _ in range(rng.integers(2, 6)):  # fat lobules: as dark as a mass, but flat and unshadowed
        cx, cy = rng.uniform(-0.9, 0.9), view.y.max() * rng.uniform(0.15, 0.8)
        lobule = blob(rng, view.x, view.y, cx, cy, rng.uniform(0.1, 0.25), 0.06, 0.1) < 1
        echo = np.where(lobule, np.float32(-42), echo)
    masks: list[Mask] = []
    for number in range(lesions):
        slot = 2 * (number + rng.uniform(0.35, 0.65)) / lesions - 1  # beside each other
        a = rng.uniform(0.16, 0.38) / lesions**0.7
        b, roughness = (a * rng.uniform(0.8, 1.0), 0.2) if malignant else (a * 0.65, 0.06)
        cy = view.y.max() * rng.uniform(0.36, 0.62)
        mass = blob(rng, view.x, view.y, slot, cy, a, b, roughness) < 1
        shadow = cv2.GaussianBlur(behind(view, mass).astype(np.float32), (0, 0), width / 60)
        echo = echo + shadow * np.float32(-12 if malignant else 6)
        inner = rng.uniform(-50, -40) + 2 * texture(rng, view, 0.06, 0.06)
        echo = np.where(mass, inner, echo)
        masks.append(mass)
    return b_mode(rng, view, echo, gain=rng.uniform(-2, 3)), masks


def fetal_head(
    rng: Generator, width: int, height: int, *, cut: bool = False
) -> tuple[Image, tuple[float, float, float, float, float]]:
    """A skull in amniotic fluid. Returns its outer ellipse in pixels: cx, cy, a, b, degrees.

    Args:
        rng: draws the exam.
        width: pixels.
        height: pixels.
        cut: the head reaches over the image's right edge.
    """
    view = sector(width, height, half_angle=rng.uniform(0.6, 0.75), apex=-0.7, near=0.55)
    deep = float(view.y.max())
    a = min(deep * rng.uniform(0.3, 0.44), 0.8)
    b, angle = a * rng.uniform(0.72, 0.85), rng.uniform(-0.5, 0.5)
    cx, cy = (1 - 0.8 * a if cut else rng.uniform(-0.15, 0.15)), deep * rng.uniform(0.48, 0.58)
    echo = -28 + 4 * texture(rng, view, 0.1, 0.06) + 6 * strands(rng, view, 0.3, 0.1)
    fluid = blob(rng, view.x, view.y, cx, cy, 1.3 * a, 1.25 * a, 0.1) < 1
    echo = np.where(fluid, np.float32(rng.uniform(ANECHOIC_DB, -38)), echo)  # clear or turbid
    radius = ellipse(view.x, view.y, cx, cy, a, b, angle)
    brain = -44 + 4 * texture(rng, view, 0.1, 0.1)
    u = (view.x - cx) * np.cos(angle) + (view.y - cy) * np.sin(angle)
    v = (view.y - cy) * np.cos(angle) - (view.x - cx) * np.sin(angle)
    brain = np.where((np.abs(v) < 0.02) & (np.abs(u) < 0.8 * a), np.float32(-24), brain)  # falx
    for side in (-1, 1):  # choroid plexus in either hemisphere
        plexus = ellipse(u, v, -0.35 * a, side * 0.35 * b, 0.28 * a, 0.14 * b) < 1
        brain = np.where(plexus, np.float32(-28), brain)
    echo = np.where(radius < 1, brain, echo)
    bone = np.abs(radius - 0.95) < 0.05
    down, across = np.gradient(radius)
    facing = np.square(down) / (np.square(down) + np.square(across) + 1e-9)
    echo = np.where(bone, -28 + 26 * facing, echo)  # it shines where the beam meets it squarely
    echo = np.where(behind(view, bone) & (radius > 1), echo - 8, echo)
    image = b_mode(rng, view, echo.astype(np.float32), gain=rng.uniform(-2, 4))
    scale = width / 2
    centre = ((cx + 1) * scale - 0.5, cy * scale - 0.5)
    return image, (*centre, a * scale, b * scale, float(np.degrees(angle)))


def heart(
    exam: Generator, frame: Generator, view: View, contraction: float, *, right_heart: bool
) -> tuple[Image, Image]:
    """An apical view: the image, and its labels 1 cavity, 2 myocardium, 3 left atrium.

    Args:
        exam: draws the anatomy; the same state gives the same heart at any contraction.
        frame: draws the speckle.
        view: a phased array's sector.
        contraction: 0 at end-diastole, 1 at end-systole.
        right_heart: a four-chamber view; without it two chambers.
    """
    deep = float(view.y.max())
    cx = exam.uniform(0.0, 0.12)
    tilt, base = exam.uniform(-0.12, 0.05), deep * exam.uniform(0.6, 0.68)
    length = (base - deep * exam.uniform(0.14, 0.2)) * (1 - 0.1 * contraction)
    half = deep * exam.uniform(0.14, 0.185) * (1 - 0.28 * contraction)
    wall = deep * exam.uniform(0.055, 0.075) * (1 + 0.35 * contraction)
    atrium = deep * exam.uniform(0.25, 0.3) * (1 + 0.15 * contraction)
    u = (view.x - cx) * np.cos(tilt) + (view.y - base) * np.sin(tilt)
    v = (view.y - base) * np.cos(tilt) - (view.x - cx) * np.sin(tilt)

    cavity = (ellipse(u, v, 0, 0, half, length) < 1) & (v < 0)
    muscle = (ellipse(u, v, 0, 0, half + wall, length + wall) < 1) & (v < 0) & ~cavity
    filling = ellipse(u, v, 0, 0.4 * atrium, half * 1.05, 0.6 * atrium)
    left_atrium = (filling < 1) & (v >= 0)
    labels = np.select([cavity, muscle, left_atrium], [1, 2, 3], 0).astype(np.uint8)

    echo = -36 + 5 * texture(exam, view, 0.25, 0.25) + 8 * strands(exam, view, 0.5, 0.3)
    if right_heart:
        septum = half + 2 * wall
        ventricle = ellipse(u, v, -septum - 0.7 * half, 0.0, 0.75 * half, 0.75 * length) < 1
        auricle = ellipse(u, v, -septum - 0.5 * half, 0.4 * atrium, 0.8 * half, 0.5 * atrium) < 1
        echo = np.where((ventricle & (v < 0)) | (auricle & (v >= 0)), np.float32(BLOOD_DB), echo)
    atrial_wall = (filling < 1.15) & (v >= 0)
    echo = np.where(atrial_wall, np.float32(-27), echo)
    echo = np.where(muscle, -24 + 4 * texture(exam, view, 0.08, 0.08), echo)
    pericardium = np.abs(ellipse(u, v, 0, 0, half + wall * 1.15, length + wall * 1.15) - 1) < 0.05
    echo = np.where(pericardium & (u > 0.3 * half) & (v < 0), np.float32(-16), echo)
    haze = 14 * np.exp(-view.reach / (0.25 * deep))  # reverberation near the probe
    echo = np.where(cavity | left_atrium, BLOOD_DB + haze, echo)
    leaflets = (np.abs(v + np.abs(u) * (0.5 - contraction * 0.4)) < 0.02) & (np.abs(u) < half)
    echo = np.where(leaflets, np.float32(-20), echo)
    image = b_mode(frame, view, echo.astype(np.float32), gain=exam.uniform(-3, 3))
    return image, labels


def adnexal_mass(rng: Generator, width: int, height: int) -> tuple[Image, Mask]:
    """A cystic mass with septa or a solid part, seen from the vagina: RGB image and its mask."""
    view = sector(width, height, half_angle=rng.uniform(0.95, 1.15), apex=-0.1, near=0.28)
    deep = float(view.y.max())
    echo = -26 + 4 * texture(rng, view, 0.12, 0.06) + 5 * strands(rng, view, 0.3, 0.12)
    for _ in range(rng.integers(1, 4)):  # vessels and bowel: dark, and no part of the mass
        cx, cy = rng.uniform(-0.8, 0.8), deep * rng.uniform(0.35, 0.9)
        vessel = blob(rng, view.x, view.y, cx, cy, rng.uniform(0.05, 0.1), 0.06, 0.1) < 1
        echo = np.where(vessel, np.float32(BLOOD_DB), echo)
    a = rng.uniform(0.26, 0.45)
    cx, cy = rng.uniform(-0.25, 0.25), deep * rng.uniform(0.48, 0.6)
    radius = blob(rng, view.x, view.y, cx, cy, a, a * rng.uniform(0.7, 0.95), 0.08)
    mass = (radius < 1) & view.inside
    fluid = np.full_like(echo, rng.choice([ANECHOIC_DB, -46.0]))  # clear, or the haze of old blood
    if rng.random() < 0.6:
        fluid = fluid + 30 * strands(rng, view, 0.4, 0.4)  # septa
    solid = blob(rng, view.x, view.y, cx + 0.5 * a, cy + 0.3 * a, 0.45 * a, 0.4 * a, 0.2) < 1
    fluid = np.where(solid & (rng.random() < 0.6), -32 + 3 * texture(rng, view, 0.05, 0.05), fluid)
    through = cv2.GaussianBlur(behind(view, mass).astype(np.float32), (0, 0), width / 60)
    echo = np.where(mass, fluid, echo + 6 * through)
    echo = np.where(np.abs(radius - 1) < 0.05, np.float32(-18), echo)  # its wall
    grey = b_mode(rng, view, echo.astype(np.float32), gain=rng.uniform(-2, 3))
    image = np.repeat(grey[..., None], 3, axis=2)
    if rng.random() < 0.2:
        _doppler(rng, view, radius, image)
    return image, mass


def _doppler(rng: Generator, view: View, radius: Map, image: Image) -> None:
    """Colour flow along the wall of a mass, red towards the probe and blue away from it."""
    flow = texture(rng, view, 0.06, 0.06)
    vessel = (np.abs(radius - 1.05) < 0.12) & (np.abs(flow) > 1.2) & view.inside
    image[vessel & (flow > 0)] = (230, 60, 20)
    image[vessel & (flow < 0)] = (30, 60, 230)


def neck(
    exam: Generator,
    frame: Generator,
    view: View,
    *,
    centre: float = 0.0,
    zoom: float = 1.0,
    nodules: int = 0,
) -> tuple[Image, Mask, list[Mask]]:
    """A transverse neck: trachea between two thyroid lobes, carotids beside them.

    Args:
        exam: draws the anatomy; the same state gives the same lobes at any `centre`.
        frame: draws the speckle.
        view: a linear probe's.
        centre: x of the trachea; far from 0 only one lobe is in view.
        zoom: magnification about the middle of the skin.
        nodules: how many, alternately in the lobe nearer the middle and in the other.

    Returns:
        The image, the gland's mask, and one mask a nodule.
    """
    x, y = view.x / zoom - centre, view.y / zoom
    level = exam.uniform(0.5, 0.62)  # depth of the gland's middle
    wide, high = exam.uniform(0.28, 0.36), exam.uniform(0.2, 0.26)
    layer = y + 0.03 * texture(exam, view, 0.6, 2.0)
    echo = np.select(
        [layer < 0.06, layer < 0.14, layer < level - high],
        [np.float32(-18), np.float32(-27), np.float32(-36)],  # skin, fat, strap muscles
        np.float32(-38),
    )
    echo = echo + 2 * texture(exam, view, 0.2, 0.03) + 10 * strands(exam, view, 0.6, 0.08)
    trachea = ellipse(x, y, 0, level + 0.12, 0.24, 0.24)
    left, right = (blob(exam, x, y, side * 0.42, level, wide, high, 0.1) < 1 for side in (-1, 1))
    isthmus = (trachea < 1.35) & (y < level)
    gland = (left | right | isthmus) & (trachea > 1)
    tissue = exam.uniform(-25, -21) + 1.5 * texture(exam, view, 0.05, 0.05)
    echo = np.where(gland, tissue, echo)

    sides = (1, -1) if centre < 0 else (-1, 1)  # the lobe nearer the middle first
    masks: list[Mask] = []
    for number in range(nodules):
        cx, cy = sides[number % 2] * exam.uniform(0.38, 0.48), level + exam.uniform(-0.05, 0.05)
        a = exam.uniform(0.12, 0.22)
        radius = blob(exam, x, y, cx, cy, a, a * exam.uniform(0.65, 0.95), 0.08)
        echo = np.where(radius < 1.2, np.float32(-30), echo)  # its halo
        inner = exam.uniform(-46, -34) + 2 * texture(exam, view, 0.06, 0.06)
        echo = np.where(radius < 1, inner, echo)
        masks.append(radius < 1)

    vessels = np.zeros(x.shape, np.bool_)
    for side in sides:
        carotid = ellipse(x, y, side * (0.48 + wide), level + 0.05, 0.12, 0.11)
        echo = np.where(carotid < 1.2, np.float32(-20), echo)
        echo = np.where(carotid < 1, np.float32(ANECHOIC_DB), echo)
        vessels |= carotid < 1.2
    air = behind(view, trachea < 1) | (trachea < 1)
    rings = 8 * np.cos(40 * (trachea - 1)) * (trachea > 0.5)  # reverberation in the air
    echo = np.where(air, -44 + rings, echo)
    echo = np.where((np.abs(trachea - 1) < 0.08) & (y < level + 0.12), np.float32(-14), echo)
    image = b_mode(frame, view, echo.astype(np.float32), gain=exam.uniform(-2, 3))
    thyroid = np.logical_or.reduce([gland, *masks]) & ~air & ~vessels
    return image, thyroid, [mask & thyroid for mask in masks]
