"""The pictures of the sample trailer: camera moves over CC0 photographs, drawn scenes, titles.

A scene is a function from a time in seconds since its cut and its length in seconds to an RGB
picture, float32 [360, 640, 3] from 0 to 1. The photographs are those that scikit-image's package
carries with a CC0 or public domain note.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

WIDTH, HEIGHT = 640, 360
BAR = 40  # px of black above and below

Picture = NDArray[np.float32]
Scene = Callable[[float, float], Picture]
Grade = Callable[[Picture], Picture]
Rectangle = tuple[float, float, float]  # centre x, centre y, width, as parts of the photograph

_y, _x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)


def blank(red: float = 0.0, green: float = 0.0, blue: float = 0.0) -> Picture:
    """One colour."""
    return np.full((HEIGHT, WIDTH, 3), (red, green, blue), np.float32)


def teal_orange(picture: Picture) -> Picture:
    """Cold shadows, warm lights."""
    light = picture.mean(axis=2, keepdims=True)
    cold = np.array((0.75, 1.0, 1.15), np.float32)
    warm = np.array((1.15, 1.0, 0.8), np.float32)
    return np.asarray(np.clip(picture * (cold + (warm - cold) * light) * 1.05 - 0.03, 0, 1))


def night(picture: Picture) -> Picture:
    """Day for night."""
    light = picture.mean(axis=2, keepdims=True)
    cold = (0.35 * picture + 0.65 * light) * np.array((0.45, 0.62, 1.0), np.float32)
    return np.asarray(np.clip(1.25 * cold**1.3, 0, 1))


def alarm(picture: Picture) -> Picture:
    """Under red light."""
    light = picture.mean(axis=2, keepdims=True)
    return np.asarray(np.clip(1.4 * light**1.4 * np.array((1.0, 0.16, 0.10), np.float32), 0, 1))


@functools.cache
def _photograph(name: str) -> Picture:
    pixels = np.asarray(getattr(data, name)(), np.float32) / 255
    colour = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    return np.asarray(colour, np.float32)


def photo(
    name: str, start: Rectangle, end: Rectangle, grade: Grade = teal_orange, shake: float = 0.0
) -> Scene:
    """A camera move over a photograph.

    Args:
        name: the function of ``skimage.data``.
        start, end: what the camera sees first and last.
        grade: the colours.
        shake: px of a hand's unrest.
    """

    def scene(t: float, length: float) -> Picture:
        image = _photograph(name)
        u = t / length
        u = u * u * (3 - 2 * u)
        x, y, width = (a + (b - a) * u for a, b in zip(start, end, strict=True))
        scale = image.shape[1] * width / WIDTH
        dx = shake * (np.sin(31 * t) + np.sin(47 * t + 1))
        dy = shake * (np.sin(37 * t + 2) + np.sin(53 * t))
        matrix = np.array(
            [
                [scale, 0, image.shape[1] * x - scale * (WIDTH / 2 + dx)],
                [0, scale, image.shape[0] * y - scale * (HEIGHT / 2 + dy)],
            ]
        )
        seen = cv2.warpAffine(
            image,
            matrix,
            (WIDTH, HEIGHT),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return grade(np.clip(np.asarray(seen, np.float32), 0, 1))

    return scene


def glow(picture: Picture, radius: float, amount: float) -> Picture:
    """Light that spills over."""
    spill = cv2.GaussianBlur(picture, (0, 0), radius)
    return np.clip(picture + amount * np.asarray(spill, np.float32), 0, 1)


def _noise(shape: tuple[int, int], seed: int, octaves: int = 5) -> NDArray[np.float32]:
    """Smooth random values from 0 to 1, in octaves."""
    rng = np.random.default_rng(seed)
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        cells = (3 * 2**octave, 4 * 2**octave)
        grid = rng.random(cells, np.float32)
        total += (
            np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)) / 2**octave
        )
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low)


@functools.cache
def _stars(seed: int = 3) -> Picture:
    rng = np.random.default_rng(seed)
    sky = blank()
    for x, y, light in rng.random((420, 3)):
        sky[int(y * (HEIGHT - 1)), int(x * (WIDTH - 1))] = 0.25 + 0.75 * light**3
    return np.clip(sky + 1.5 * np.asarray(cv2.GaussianBlur(sky, (0, 0), 1.0), np.float32), 0, 1)


def _fill(picture: Picture, points: list[tuple[float, float]], colour: tuple[float, ...]) -> None:
    """Draw a polygon in place, its edges smooth."""
    corners = (np.array(points) * 16).round().astype(np.int32)
    cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA, 4)


def lighthouse(t: float, length: float) -> Picture:
    """A lighthouse over the sea at night, its beam turning."""
    horizon = 250.0
    depth = np.clip(_y / horizon, 0, 1)[..., None]
    sky = np.array((0.01, 0.02, 0.06), np.float32) + depth**3 * np.array(
        (0.10, 0.13, 0.22), np.float32
    )
    picture = np.clip(sky + _stars() * (_y < horizon)[..., None], 0, 1).astype(np.float32)
    ripples = np.sin(_y**1.3 / 3 - 2 * t + 3 * np.sin(_x / 60 + 0.4 * t)) * np.sin(_x / 17 + t)
    water = np.array((0.02, 0.05, 0.10), np.float32) * (1 + 0.5 * ripples[..., None])
    picture = np.where((_y >= horizon)[..., None], water, picture).astype(np.float32)
    lamp_x, lamp_y = 455.0, 118.0
    angle = np.arctan2(_y - lamp_y, _x - lamp_x)
    distance = np.hypot(_x - lamp_x, _y - lamp_y)
    for turn in (np.pi - 0.9 + 1.1 * t / length, -0.5 + 1.1 * t / length):
        off = np.abs(np.angle(np.exp(1j * (angle - turn)))).astype(np.float32)
        beam = np.exp(-((off / 0.07) ** 2)) * np.exp(-distance / 330)
        picture += (0.8 * beam[..., None] * np.array((1.0, 0.93, 0.7), np.float32)).astype(
            np.float32
        )
    _fill(
        picture, [(330, 262), (400, 236), (520, 232), (640, 268), (640, 360), (330, 360)], (0, 0, 0)
    )
    _fill(picture, [(440, 240), (447, 128), (463, 128), (470, 240)], (0.015, 0.015, 0.02))
    _fill(picture, [(444, 128), (447, 108), (463, 108), (466, 128)], (1.0, 0.9, 0.6))
    _fill(picture, [(442, 108), (455, 96), (468, 108)], (0.01, 0.01, 0.01))
    return glow(np.clip(picture, 0, 1), 9, 0.35)


def signal_screen(t: float, length: float) -> Picture:
    """A green instrument on which a signal grows out of the noise."""
    picture = blank(0.0, 0.03, 0.02)
    picture[::20] += np.array((0, 0.05, 0.03), np.float32)
    picture[:, ::20] += np.array((0, 0.05, 0.03), np.float32)
    x = np.arange(WIDTH)
    rng = np.random.default_rng(int(t * 24))
    strength = (t / length) ** 2
    pulse = np.exp(-(((x - 320) / 90.0) ** 2)) * np.sin(x / 7 - 14 * t)
    y = 180 + 6 * rng.standard_normal(WIDTH) + 105 * strength * pulse
    line = np.stack((x, y), axis=1).round().astype(np.int32)
    cv2.polylines(picture, [line], False, (0.25, 1.0, 0.55), 2, cv2.LINE_AA)
    return glow(picture, 6, 0.9)


def nebula_ship(t: float, length: float) -> Picture:
    """A dark ship passes before the deep field."""
    sky = photo("hubble_deep_field", (0.45, 0.5, 0.7), (0.55, 0.5, 0.7), night)(t, length)
    haze = _noise((HEIGHT, WIDTH), 11)
    tint = np.array((0.45, 0.12, 0.40), np.float32)
    picture = np.clip(sky + 0.55 * (haze**2)[..., None] * tint, 0, 1).astype(np.float32)
    x = -190 + 560 * t / length
    hull = [(0, 12), (60, 0), (150, -6), (236, 8), (252, 16), (190, 26), (80, 32), (10, 26)]
    fin = [(40, 4), (70, -26), (96, -26), (104, 0)]
    for shape in (hull, fin):
        _fill(picture, [(x + px, 170 + py) for px, py in shape], (0.02, 0.02, 0.03))
    for window in range(9):
        cv2.circle(picture, (int(x + 88 + 13 * window), 178), 1, (1.0, 0.8, 0.4), -1, cv2.LINE_AA)
    flame = (
        np.exp(-(((_y - 190) / 7) ** 2)) * np.exp(-np.clip(x + 4 - _x, 0, None) / 40) * (_x < x + 6)
    )
    picture += (flame[..., None] * np.array((0.5, 0.8, 1.2), np.float32)).astype(np.float32)
    return glow(np.clip(picture, 0, 1), 8, 0.45)


def storm(t: float, length: float) -> Picture:
    """Clouds over a black sea, with lightning."""
    clouds = _noise((HEIGHT, 2 * WIDTH), 5)
    left = int(60 * t)
    seen = clouds[:, left : left + WIDTH]
    flash = max(np.exp(-7 * (t - at)) if t >= at else 0.0 for at in (0.25, 0.42, 1.2))
    tint = np.array((0.30, 0.36, 0.46), np.float32) * (0.35 + 1.9 * flash)
    picture = (seen**1.6)[..., None] * tint
    waves = np.sin(_x / 40 + 2.2 * t + 4 * seen) * np.sin(_y / 9 - 3 * t)
    sea = np.array((0.03, 0.05, 0.07), np.float32) * (1 + 0.6 * waves[..., None]) * (1 + 2 * flash)
    picture = np.where((_y > 262)[..., None], sea, picture).astype(np.float32)
    if flash > 0.15:
        rng = np.random.default_rng(9 if t < 1 else 21)
        x = np.cumsum(rng.normal(0, 13, 24)) + (250 if t < 1 else 430)
        bolt = np.stack((x, np.linspace(BAR, 262, 24)), axis=1).round().astype(np.int32)
        cv2.polylines(picture, [bolt], False, (1.0, 1.0, 1.0), 2, cv2.LINE_AA)
    return glow(np.clip(picture, 0, 1), 7, 0.5)


def corridor(t: float, length: float) -> Picture:
    """Running down a corridor of a station under turning red lamps."""
    far = np.maximum(np.abs(_x - 320) / 320, np.abs(_y - 178) / 180) + 1e-3
    depth = 1 / far
    ribs = np.sin(6.0 * depth + 14 * t) > 0.55
    lamp = 0.55 + 0.45 * np.sin(2 * np.pi * 1.6 * t + 0.8 * depth)
    wall = (0.16 + 0.34 * ribs) * np.clip(far * 1.5, 0, 1) * lamp
    picture = (wall[..., None] * np.array((1.0, 0.13, 0.08), np.float32)).astype(np.float32)
    _fill(picture, [(276, 128), (364, 128), (370, 224), (270, 224)], (0.85, 0.9, 1.0))
    bob = 5 * abs(np.sin(11 * t))
    size = 0.8 + 0.3 * t / length
    body = [
        (-9, -34),
        (9, -34),
        (11, -6),
        (14, 24),
        (5, 24),
        (0, 2),
        (-6, 24),
        (-15, 22),
        (-10, -6),
    ]
    _fill(picture, [(320 + size * px, 196 - bob + size * py) for px, py in body], (0.01, 0.0, 0.0))
    head = (320, int(196 - bob - size * 41))
    cv2.circle(picture, head, int(7 * size), (0.01, 0.0, 0.0), -1, cv2.LINE_AA)
    return glow(np.clip(picture, 0, 1), 10, 0.5)


def explosion(t: float, length: float) -> Picture:
    """A flash, a fireball, smoke."""
    turbulence = _noise((HEIGHT, WIDTH), 17, 6)
    radius = 40 + 250 * (1 - np.exp(-1.2 * t))
    distance = np.hypot(_x - 330, (_y - 190) * 1.1) + 150 * (turbulence - 0.5)
    heat = np.clip(1.25 - distance / radius, 0, 1) * np.exp(-0.55 * t)
    fire = np.stack((2.6 * heat, 1.5 * heat**1.6, 0.9 * heat**3), axis=2)
    picture = (
        0.10 * _stars()
        + fire
        + 0.10 * (turbulence * np.clip(1.5 - distance / radius, 0, 1))[..., None]
    )
    return glow(np.clip(picture + np.exp(-9 * t), 0, 1).astype(np.float32), 12, 0.4)


def red_planet(t: float, length: float) -> Picture:
    """A planet, textured with gravel, lit from one side, slowly turning."""
    radius, x, y = 260.0 + 14 * t, 420.0, 330.0
    dx, dy = (_x - x) / radius, (_y - y) / radius
    inside = dx**2 + dy**2 < 1
    dz = np.sqrt(np.clip(1 - dx**2 - dy**2, 0, 1))
    ground = _photograph("gravel")[..., 0]
    column = ((np.arctan2(dx, dz) + 0.05 * t) * 190).astype(np.int64) % ground.shape[1]
    row = (np.arcsin(np.clip(dy, -1, 1)) * 190).astype(np.int64) % ground.shape[0]
    light = np.clip(-0.62 * dx - 0.68 * dy + 0.35 * dz, 0, 1)
    land = (0.35 + ground[row, column]) * light
    picture = np.where(inside[..., None], land[..., None] * np.array((1.1, 0.5, 0.3)), _stars(8))
    rim = np.exp(-(((np.hypot(dx, dy) - 1) / 0.035) ** 2)) * np.clip(-0.7 * dx - 0.7 * dy, 0, 1)
    picture = picture + rim[..., None] * np.array((0.9, 0.55, 0.4))
    return glow(np.clip(picture, 0, 1).astype(np.float32), 10, 0.3)


def warp(t: float, length: float) -> Picture:
    """Stars rush past."""
    rng = np.random.default_rng(29)
    picture = blank(0.0, 0.0, 0.02)
    for angle, phase, speed in rng.random((260, 3)):
        u = (phase + (0.5 + speed) * t) % 1.0
        direction = np.array((np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)))
        near, far = (
            np.array((320, 180)) + direction * 420 * part for part in (u**2, (0.86 * u) ** 2)
        )
        colour = tuple(float(u) * c for c in (0.75, 0.88, 1.0))
        ends = [tuple(int(v) for v in end.round()) for end in (far, near)]
        cv2.line(picture, ends[0], ends[1], colour, 1 + int(2 * u), cv2.LINE_AA)
    return glow(picture, 4, 0.5)


def burning_city(t: float, length: float) -> Picture:
    """A skyline against fire, seen from a moving camera."""
    rng = np.random.default_rng(41)
    smoke = _noise((HEIGHT, 2 * WIDTH), 23)[:, int(25 * t) : int(25 * t) + WIDTH]
    heat = np.clip(_y / 300, 0, 1) ** 2 * (0.35 + 0.9 * smoke)
    flicker = 1 + 0.12 * np.sin(23 * t) * np.sin(7 * t)
    picture = (heat[..., None] * np.array((1.25, 0.5, 0.14)) * flicker).astype(np.float32)
    x = -40.0 - 18 * t
    while x < WIDTH:
        width, height = 26 + 44 * rng.random(), 60 + 130 * rng.random() ** 1.5
        top = 320 - height
        _fill(
            picture, [(x, top), (x + width, top), (x + width, 360), (x, 360)], (0.02, 0.012, 0.01)
        )
        for window in rng.random((12, 3)):
            if window[2] < 0.4:
                at = (int(x + 4 + window[0] * (width - 8)), int(top + 6 + window[1] * height * 0.7))
                cv2.rectangle(picture, at, (at[0] + 1, at[1] + 2), (1.0, 0.75, 0.3), -1)
        x += width + 3
    return glow(np.clip(picture, 0, 1), 10, 0.35)


def title(
    text: str, colour: tuple[float, float, float] = (0.86, 0.92, 1.0), size: int = 40
) -> Scene:
    """Spaced capitals that come out of the dark and grow a little."""

    def scene(t: float, length: float) -> Picture:
        shown = np.clip(t / 0.35, 0, 1) * np.clip((length - t) / 0.3, 0, 1)
        letters = _letters(text, size)
        scale = 1 + 0.06 * t / length
        matrix = np.array(
            [[scale, 0, WIDTH / 2 * (1 - scale)], [0, scale, HEIGHT / 2 * (1 - scale)]]
        )
        grown = np.asarray(cv2.warpAffine(letters, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
        haze = 0.05 * _noise((HEIGHT, WIDTH), 31)[..., None] * np.array((0.4, 0.6, 1.0))
        picture = haze + grown[..., None] * np.array(colour) * shown
        return glow(np.clip(picture, 0, 1).astype(np.float32), 7, 0.5)

    return scene


@functools.cache
def _letters(text: str, size: int) -> NDArray[np.float32]:
    """Where the letters are, [360, 640] from 0 to 1, in the font that Pillow carries."""
    font = ImageFont.load_default(size)
    spaced = 0.16 * size
    advances = [font.getlength(letter) + spaced for letter in text]
    image = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(image)
    x = (WIDTH - sum(advances) + spaced) / 2
    for letter, advance in zip(text, advances, strict=True):
        draw.text((x, HEIGHT / 2), letter, 255, font, anchor="lm")
        x += advance
    return np.asarray(np.asarray(image, np.float32) / 255, np.float32)


def finish(picture: Picture, number: int) -> NDArray[np.uint8]:
    """Vignette, grain and the black bars of a wide film.

    Args:
        picture: a scene's picture.
        number: of the frame, which seeds the grain.

    Returns:
        uint8 RGB [360, 640, 3].
    """
    distance = ((_x / WIDTH - 0.5) ** 2 + (_y / HEIGHT - 0.5) ** 2)[..., None]
    grain = np.random.default_rng(number).normal(0, 0.008, (HEIGHT, WIDTH, 1))
    finished = picture * (1 - 0.55 * distance) + grain
    finished[:BAR] = 0
    finished[-BAR:] = 0
    return np.asarray((np.clip(finished, 0, 1) * 255).round(), np.uint8)
