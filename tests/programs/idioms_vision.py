"""Pictures and space: cameras, rays, meshes, warps, filters and distances between images."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial, singledispatch, wraps
from itertools import chain, combinations, islice
from operator import attrgetter, itemgetter
from typing import Any, ClassVar, NamedTuple

import numpy as np

import gradc
from tests.programs.idioms import idiom, normal, uniform


def normalize(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


# Cameras


class Camera(NamedTuple):
    rotation: Any
    translation: Any
    focal: Any


def rodrigues(w):
    theta = np.sqrt(w @ w + 1e-12)
    k = w / theta
    K = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    return np.eye(3) + np.sin(theta) * K + (1 - np.cos(theta)) * (K @ K)


def project(camera: Camera, points):
    p = points @ rodrigues(camera.rotation).T + camera.translation
    return camera.focal * p[:, :2] / p[:, 2:]


@idiom(
    lambda r, t: (
        (
            [Camera(normal(r, t, 3) * t(0.2), np.array([0, 0, 5.0], t), t(1.5)) for _ in range(2)],
            normal(r, t, 6, 3),
        ),
        normal(r, t, 2, 6, 2),
    )
)
def bundle_adjustment(unknowns, observed):
    """Cameras as named tuples in a list, and points; a robust loss of the residuals."""
    cameras, points = unknowns
    residuals = np.concatenate([project(c, points) - uv for c, uv in zip(cameras, observed, strict=True)])
    squared = np.sum(residuals**2, axis=-1)
    return np.sum(np.log1p(squared))


@idiom(lambda r, t: (np.array([0.1, -0.05, 0.02], t), uniform(r, t, 5, 2, low=-1, high=1)))
def lens_distortion_undone(k, points, iterations=4):
    def distort(xy):
        r2 = np.sum(xy**2, axis=1, keepdims=True)
        return xy * (1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3)

    guess = points
    for _ in range(iterations):
        guess = guess - (distort(guess) - points)
    return np.sum((guess - points) ** 2) * 100


@idiom(
    lambda r, t: (normal(r, t, 3, 3) + np.eye(3, dtype=t) * t(3), uniform(r, t, 6, 2), uniform(r, t, 6, 2))
)
def homography_error(H, source, target):
    ones = np.ones((source.shape[0], 1), dtype=source.dtype)
    mapped = np.hstack((source, ones)) @ H.T
    mapped = mapped[:, :-1] / mapped[:, -1, None]
    return np.linalg.norm(mapped - target, axis=1).mean()


@idiom(
    lambda r, t: (normal(r, t, 4), uniform(r, t, 6, 2, low=-1, high=1), uniform(r, t, 6, 2, low=-1, high=1))
)
def iterative_closest_points(pose, moving, fixed):
    """Neighbours by argmin in every round, with a rigid motion in a nested function."""
    x, y, angle, scale = pose

    def move(points):
        c, s = np.cos(angle), np.sin(angle)
        return np.exp(0.1 * scale) * points @ np.array([[c, -s], [s, c]]).T + np.array([x, y])

    total = 0.0
    for _ in range(2):
        moving = move(moving)
        d = np.linalg.norm(moving[:, None] - fixed[None], axis=2)
        total += np.mean((moving - fixed[np.argmin(d, axis=1)]) ** 2)
    return total


# Rays


class Vec:
    """A vector by operators, for those who like them."""

    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __add__(self, o):
        return Vec(self.x + o.x, self.y + o.y, self.z + o.z)

    def __sub__(self, o):
        return Vec(self.x - o.x, self.y - o.y, self.z - o.z)

    def __mul__(self, k):
        return Vec(*(c * k for c in self))

    def __iter__(self):
        yield from (self.x, self.y, self.z)

    def __matmul__(self, o):
        return sum(a * b for a, b in zip(self, o, strict=True))

    def __len__(self):
        return 3

    @property
    def unit(self):
        return self * (1 / np.sqrt(self @ self))


@dataclass
class Sphere:
    center: Vec
    radius: Any
    count: ClassVar[int] = 0

    def distance(self, p: Vec):
        d = p - self.center
        return np.sqrt(d @ d) - self.radius

    def normal(self, p: Vec):
        return (p - self.center).unit


@idiom(
    lambda r, t: ({"center": np.array([0.1, -0.2, 3.0], t), "radius": t(1.0)}, np.array([0.5, 1.0, -1.0], t))
)
def ray_marching_with_vectors(scene, light):
    """All pixels at once: the components of the vectors are arrays."""
    sphere = Sphere(Vec(*scene["center"]), scene["radius"])
    u, v = np.meshgrid(np.linspace(-0.2, 0.2, 4), np.linspace(-0.2, 0.2, 3))
    ray = Vec(u, v, np.ones_like(u)).unit
    t = np.zeros_like(u)
    for _ in range(6):
        t = t + sphere.distance(ray * t)
    shade = sphere.normal(ray * t) @ Vec(*light).unit
    return np.sum(np.maximum(shade, 0) ** 2) + np.mean(t)


@idiom(lambda r, t: (normal(r, t, 3, 3) * t(0.3) + np.array([0, 0, 4], t), np.array([0.9, 0.7, 0.5], t)))
def spheres_with_hits_and_misses(centers, radii):
    """Misses are masked with where, nearest hits by argmin and take_along_axis, under errstate."""
    i, j = np.mgrid[-2:3, -2:3] / 4.0
    rays = normalize(np.stack([i, j, np.ones_like(i)], axis=-1)).reshape(-1, 3)
    b = rays @ centers.T
    discriminant = b**2 - (np.sum(centers**2, axis=1) - radii**2)
    with np.errstate(invalid="ignore"):
        depth = np.where(discriminant > 0, b - np.sqrt(discriminant), 10.0)
    nearest = depth.argmin(axis=1)
    z = np.take_along_axis(depth, nearest[:, None], axis=1)[:, 0]
    albedo = np.array([0.3, 0.6, 0.9])[nearest]
    return np.sum(albedo * np.exp(-z))


@idiom(lambda r, t: (uniform(r, t, 5, 3, low=-1, high=1), normal(r, t, 3)))
def soft_rasterizer(triangle_points, color):
    y, x = np.mgrid[0:1:5j, 0:1:6j]
    p = np.stack([x, y], -1)

    def edge(a, b):
        return (b[0] - a[0]) * (p[..., 1] - a[1]) - (b[1] - a[1]) * (p[..., 0] - a[0])

    image = np.zeros((5, 6, 3))
    for corners in combinations(triangle_points[:4], 3):
        a, b, c = corners
        inside = 1.0
        for e in (edge(a, b), edge(b, c), edge(c, a)):
            inside = inside / (1 + np.exp(-4 * e))
        image += inside[..., None] * np.tanh(color)
    return np.mean(image**2)


@idiom(lambda r, t: (uniform(r, t, 8, 3), uniform(r, t, 8), 4))
def volume_rendering(colors, densities, samples):
    """Transmittance by an exclusive cumulative product."""
    alpha = 1 - np.exp(-densities.reshape(-1, samples) * 0.5)
    shifted = np.concatenate([np.ones((len(alpha), 1)), 1 - alpha[:, :-1]], axis=1)
    weights = alpha * np.cumprod(shifted, axis=1)
    pixels = (weights[..., None] * colors.reshape(-1, samples, 3)).sum(axis=1)
    return np.sum(pixels**2) + weights.max()


# Images


@idiom(
    lambda r, t: (
        np.array([0.13, 1.07, -0.11, 0.31, 0.23, 0.94], t),
        uniform(r, t, 6, 5),
        uniform(r, t, 6, 5),
    )
)
def image_registration(affine, moving, fixed):
    """Warping with bilinear interpolation, indices clipped at the borders."""
    h, w = moving.shape
    A = affine.reshape(2, 3)
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h), indexing="xy")).reshape(2, -1)
    x, y = A[:, :2] @ grid + A[:, 2:]
    x0, y0 = np.floor(x), np.floor(y)
    total = np.zeros(h * w)
    for dx in (0, 1):
        for dy in (0, 1):
            xi, yi = x0 + dx, y0 + dy
            weight = (1 - np.abs(x - xi)) * (1 - np.abs(y - yi))
            inside = (xi >= 0) & (xi < w) & (yi >= 0) & (yi < h)
            index = np.clip(yi, 0, h - 1).astype(np.intp), np.clip(xi, 0, w - 1).astype(np.intp)
            total += np.where(inside, weight * moving[index], 0)
    return np.mean((total.reshape(h, w) - fixed) ** 2)


def gaussian_kernel(size, sigma):
    axis = np.arange(size) - size // 2
    k = np.exp(-(axis**2) / (2 * sigma**2))
    return k / k.sum()


@idiom(lambda r, t: (uniform(r, t, 7, 7), uniform(r, t, 7, 7)))
def structural_similarity(x, y, c1=0.01, c2=0.03):
    window = np.lib.stride_tricks.sliding_window_view
    k = np.outer(g := gaussian_kernel(3, 1.0), g)

    def blur(a):
        return np.einsum("ijkl,kl->ij", window(a, (3, 3)), k)

    mx, my = blur(x), blur(y)
    sxx, syy, sxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    return 1 - np.mean((2 * mx * my + c1) * (2 * sxy + c2) / ((mx**2 + my**2 + c1) * (sxx + syy + c2)))


@idiom(lambda r, t: (uniform(r, t, 8, 8), t(0.5)))
def image_pyramid(image, sigma):
    """A pyramid in a list of levels, blurred along each axis by apply-like loops over rows."""
    kernel = gaussian_kernel(3, sigma)

    def blur_rows(a):
        return np.stack([np.convolve(np.pad(row, 1, mode="edge"), kernel, mode="valid") for row in a])

    levels = [image]
    while min(levels[-1].shape) > 2:
        smooth = blur_rows(blur_rows(levels[-1]).T).T
        levels.append(smooth[::2, ::2])
    return sum(2.0**-i * np.var(level) for i, level in enumerate(levels))


@idiom(lambda r, t: (uniform(r, t, 5, 5), uniform(r, t, 5, 5)))
def optical_flow_by_gradients(first, second):
    iy, ix = np.gradient(first)
    it = second - first
    A = np.array([[np.sum(ix * ix), np.sum(ix * iy)], [np.sum(ix * iy), np.sum(iy * iy)]])
    b = -np.array([(ix * it).sum(), (iy * it).sum()])
    (p, q), (_, s) = A
    det = p * s - q**2 + 1e-3
    flow = np.array([s * b[0] - q * b[1], p * b[1] - q * b[0]]) / det
    return flow @ flow


@idiom(lambda r, t: (uniform(r, t, 6, 6, 3), uniform(r, t, 6, 6)))
def bilateral_filter(image, guide):
    out, total = np.zeros(image.shape), np.zeros(image.shape[:2])
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    around = np.pad(guide, 1, "reflect")
    for dy in range(3):
        for dx in range(3):
            near = around[dy : dy + 6, dx : dx + 6]
            w = np.exp(-((near - guide) ** 2) / 0.1 - ((dx - 1) ** 2 + (dy - 1) ** 2) / 2)
            out += w[..., np.newaxis] * padded[dy : dy + 6, dx : dx + 6]
            total += w
    out /= total[:, :, None]
    return np.sum(np.abs(out - image))


@idiom(lambda r, t: (uniform(r, t, 20), 5))
def soft_histogram_matching(pixels, bins):
    centers = np.linspace(0, 1, bins)
    weights = np.maximum(0, 1 - np.abs(pixels[:, None] - centers) * (bins - 1))
    cdf = np.cumsum(weights.sum(0)) / pixels.size
    target = np.linspace(0, 1, bins + 1)[1:]
    return np.sum((cdf - target) ** 2) + np.quantile(pixels, 0.3)


@idiom(lambda r, t: (normal(r, t, 3, 4), uniform(r, t, 5, 5, low=0.2, high=0.8)))
def color_grading(matrix, image):
    rgb = np.dstack([image, image**2, np.sqrt(image)])
    offset = matrix[:, 3]
    graded = np.tensordot(rgb, matrix[:, :3], axes=([2], [1])) + offset
    gray = graded @ [0.299, 0.587, 0.114]
    saturation = np.ptp(graded, axis=-1)
    return np.mean(np.clip(gray, 0, 1)) + np.std(saturation)


# Meshes and curves


@dataclass
class Mesh:
    vertices: Any
    faces: Any
    neighbours: dict = field(default_factory=dict)

    def __post_init__(self):
        for a, b, c in self.faces:
            for i, j in ((a, b), (b, c), (c, a)):
                self.neighbours.setdefault(i, []).append(j)
                self.neighbours.setdefault(j, []).append(i)

    @property
    def volume(self):
        a, b, c = (self.vertices[np.array(self.faces)[:, k]] for k in range(3))
        return np.sum(a * np.cross(b, c)) / 6

    def smoothed(self, amount=0.3):
        rows = [
            (1 - amount) * self.vertices[i]
            + amount * np.mean([self.vertices[j] for j in sorted(set(near))], axis=0)
            for i, near in sorted(self.neighbours.items())
        ]
        return Mesh(np.array(rows), self.faces)


@idiom(lambda r, t: (normal(r, t, 4, 3), ((0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0))))
def mesh_smoothing(vertices, faces):
    mesh = Mesh(vertices, faces)
    for _ in range(2):
        mesh = mesh.smoothed()
    areas = [
        0.5
        * np.linalg.norm(np.cross(mesh.vertices[b] - mesh.vertices[a], mesh.vertices[c] - mesh.vertices[a]))
        for a, b, c in faces
    ]
    return mesh.volume + sum(areas)


@idiom(lambda r, t: (normal(r, t, 7, 2),))
def snake_with_a_ring_buffer(points):
    """An active contour: neighbours from a rotated deque, lengths and curvatures from islices."""
    ring = deque(points)
    ring.rotate(1)
    before = np.stack(list(ring))
    ring.rotate(-2)
    after = np.stack(list(ring))
    stretch = np.sum((after - points) ** 2)
    bend = np.sum((before - 2 * points + after) ** 2)
    (first, *_), last = islice(points, 2), points[-1]
    return stretch + 0.5 * bend + first @ last


@idiom(lambda r, t: (normal(r, t, 2, 4), np.linspace(0, 1, 4)))
def slerp_between_rotations(quaternions, times):
    a, b = normalize(quaternions)
    dot = a @ b
    b = np.where(dot < 0, -b, b)
    omega = np.arccos(np.clip(np.abs(dot), 0, 0.9995))
    track = [(np.sin((1 - s) * omega) * a + np.sin(s * omega) * b) / np.sin(omega) for s in times]
    return np.sum(np.diff(track, axis=0)[:, 1] ** 2) + track[1][0]


@idiom(lambda r, t: ({"xyz": normal(r, t, 5, 3), "weights": uniform(r, t, 5)}, normal(r, t, 3)))
def point_cloud_descriptors(cloud, origin):
    """Items by itemgetter, attributes by attrgetter, shapes told apart by singledispatch."""
    xyz, weights = itemgetter("xyz", "weights")(cloud)

    @singledispatch
    def describe(value):
        raise TypeError(type(value))

    @describe.register
    def _(value: np.ndarray):
        return np.sum(np.tanh(value), axis=0)

    @describe.register
    def _(value: list):
        return np.concatenate([describe(v) for v in value])

    centered = xyz - np.average(xyz, axis=0, weights=weights)
    covariance = attrgetter("T")(centered) @ (weights[:, None] * centered)
    far = np.linalg.norm(xyz - origin, axis=1)
    return np.sum(describe([covariance, far[:, None], centered]) ** 2)


def memoized(function):
    """A cache by hand, in a closure, keyed by what is static."""
    table = {}

    @wraps(function)
    def wrapped(n, m, x):
        if (n, m) not in table:
            table[n, m] = function(n, m, x)
        return table[n, m]

    return wrapped


@idiom(lambda r, t: (normal(r, t, 6), uniform(r, t, 5, low=-0.9, high=0.9)))
def legendre_functions_by_recursion(coefficients, x):
    @memoized
    def legendre(n, m, x):
        if n == m:
            return np.ones_like(x) if m == 0 else -(2 * m - 1) * np.sqrt(1 - x**2) * legendre(m - 1, m - 1, x)
        if n == m + 1:
            return x * (2 * m + 1) * legendre(m, m, x)
        return ((2 * n - 1) * x * legendre(n - 1, m, x) - (n + m - 1) * legendre(n - 2, m, x)) / (n - m)

    orders = [(n, m) for n in range(3) for m in range(n + 1)]
    return np.sum(sum(c * legendre(n, m, x) for c, (n, m) in zip(coefficients, orders, strict=True)) ** 2)


@idiom(lambda r, t: (normal(r, t, 4, 2), (3, 3)))
def flow_field_by_vmap(vortices, shape):
    """A field of one point, for a grid of points by two vmaps, and its divergence by jacobian."""

    def velocity(p):
        d = p - vortices
        return np.sum(
            np.stack([-d[:, 1], d[:, 0]], axis=1) / (np.sum(d**2, axis=1, keepdims=True) + 0.3), axis=0
        )

    axes = [np.linspace(-1, 1, n) for n in shape]
    grid = np.stack(np.meshgrid(*axes), axis=-1)
    field = gradc.vmap(gradc.vmap(velocity))(grid)
    curl = [J[1, 0] - J[0, 1] for J in map(gradc.jacobian(velocity), grid[0])]
    return np.sum(field**2) + np.sum(curl)


@idiom(lambda r, t: (normal(r, t, 6, 3), [[0, 1], [2, 3, 4], [5]]))
def ragged_groups(features, groups):
    """Groups of unlike sizes: a list of arrays, pooled one by one, and chained again."""
    pooled = [features[group].max(axis=0) for group in groups]
    spread = [np.std(features[g], axis=0) for g in groups if len(g) > 1]
    order = list(chain.from_iterable(groups))
    inverse = np.empty(len(order), int)
    inverse[order] = np.arange(len(order))
    assert (inverse[order] == np.arange(6)).all()
    scores = partial(np.dot, np.ones(3))
    return sum(map(scores, pooled)) + np.sum(np.array(spread) ** 2) + features[inverse][0, 0]
