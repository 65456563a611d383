"""Physics and engineering: bodies, fluids, fields, frames, robots, stepped through time."""

from __future__ import annotations

import math
import typing as ty
from collections import deque
from dataclasses import dataclass
from functools import partial, reduce
from itertools import combinations, pairwise, product, repeat

import numpy as np
from numpy import cos, pi, sin, sqrt

import gradc
from tests.programs.idioms import idiom, normal, uniform

GRAVITY = 9.81
STENCIL = ((-1, 0), (1, 0), (0, -1), (0, 1))


# Bodies


def rk4(f, y, t, dt, *args):
    k1 = f(t, y, *args)
    k2 = f(t + dt / 2, y + dt * k1 / 2, *args)
    k3 = f(t + dt / 2, y + dt * k2 / 2, *args)
    k4 = f(t + dt, y + dt * k3, *args)
    return y + dt * (k1 + 2 * k2 + 2 * k3 + k4) / 6


@idiom(lambda r, t: (uniform(r, t, 4, low=0.3, high=1.2), np.array([1.0, 0.5], t)))
def lotka_volterra(rates, start):
    """A history by rows, assigned with `history[i + 1] = ...`."""

    def f(t, z, a, b, c, d):
        x, y = z
        return np.array([a * x - b * x * y, -c * y + d * x * y])

    ts = np.linspace(0, 2, 11)
    history = np.zeros((len(ts), 2))
    history[0] = start
    for i, (t0, t1) in enumerate(pairwise(ts)):
        history[i + 1] = rk4(f, history[i], t0, t1 - t0, *rates)
    return np.trapezoid(history[:, 0], ts) + history[-1, 1] ** 2


class Pendulum:
    def __init__(self, length, damping=0.1):
        self.length = length
        self.damping = damping
        self.time = 0.0

    def derivative(self, state):
        theta, omega = state
        return np.stack([omega, -GRAVITY / self.length * sin(theta) - self.damping * omega])

    def step(self, state, dt):
        k1 = self.derivative(state)
        k2 = self.derivative(state + dt * k1 / 2)
        self.time += dt
        return state + dt * k2

    def energy(self, state):
        return 0.5 * (self.length * state[1]) ** 2 + GRAVITY * self.length * (1 - cos(state[0]))


@idiom(lambda r, t: ({"length": t(1.3), "damping": t(0.2)}, np.array([0.7, 0.0], t)))
def pendulum_that_keeps_time(params, state):
    pendulum = Pendulum(**params)
    energies = []
    while pendulum.time < 0.55:
        state = pendulum.step(state, 0.1)
        energies.append(pendulum.energy(state))
    assert len(energies) == 6
    return energies[-1] - energies[0] + max(enumerate(energies), key=lambda pair: pair[0])[1]


@idiom(lambda r, t: (np.array([1.2, -0.4, 0.1, 0.2], t),))
def double_pendulum(state, g=GRAVITY, l1=1.0, l2=0.8, m1=1.0, m2=0.5, dt=0.02):
    def f(s):
        th1, th2, w1, w2 = s
        d = th1 - th2
        den = 2 * m1 + m2 - m2 * cos(2 * d)
        a1 = (
            -g * (2 * m1 + m2) * sin(th1)
            - m2 * g * sin(th1 - 2 * th2)
            - 2 * sin(d) * m2 * (w2**2 * l2 + w1**2 * l1 * cos(d))
        ) / (l1 * den)
        a2 = (2 * sin(d) * (w1**2 * l1 * (m1 + m2) + g * (m1 + m2) * cos(th1) + w2**2 * l2 * m2 * cos(d))) / (
            l2 * den
        )
        return np.array((w1, w2, a1, a2))

    for _ in range(5):
        k1 = f(state)
        k2 = f(state + 0.5 * dt * k1)
        k3 = f(state + 0.5 * dt * k2)
        k4 = f(state + dt * k3)
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return state @ state


@dataclass
class Body:
    mass: ty.Any
    position: ty.Any
    velocity: ty.Any

    def kick(self, force, dt):
        self.velocity = self.velocity + dt * force / self.mass

    def drift(self, dt):
        self.position += dt * self.velocity


@idiom(lambda r, t: (normal(r, t, 4, 2), normal(r, t, 4, 2) * t(0.3), uniform(r, t, 4, low=0.5, high=2)))
def bodies_as_objects(positions, velocities, masses):
    """Leapfrog of objects whose attributes change, pairs by combinations."""
    bodies = [Body(m, p.copy(), v) for m, p, v in zip(masses, positions, velocities, strict=True)]

    def forces():
        total = [np.zeros(2) for _ in bodies]
        for (i, a), (j, b) in combinations(enumerate(bodies), 2):
            d = b.position - a.position
            f = a.mass * b.mass * d / (d @ d + 0.1) ** 1.5
            total[i] = total[i] + f
            total[j] -= f
        return total

    for _ in range(3):
        for body, force in zip(bodies, forces(), strict=True):
            body.kick(force, 0.05)
        for body in bodies:
            body.drift(0.1)
        for body, force in zip(bodies, forces(), strict=True):
            body.kick(force, 0.05)
    kinetic = sum(0.5 * b.mass * np.dot(b.velocity, b.velocity) for b in bodies)
    potential = -sum(
        a.mass * b.mass / sqrt(np.sum((a.position - b.position) ** 2) + 0.1)
        for a, b in combinations(bodies, 2)
    )
    return kinetic + potential + bodies[0].position[0]


@idiom(lambda r, t: (normal(r, t, 5, 3), normal(r, t, 5, 3) * t(0.1), uniform(r, t, 5, low=0.5, high=2)))
def bodies_by_broadcasting(x, v, m):
    def acceleration(x):
        d = x[None, :, :] - x[:, None, :]
        inverse = (np.sum(d**2, axis=-1) + 0.05) ** -1.5
        np.fill_diagonal(inverse, 0.0)
        return np.einsum("ijk,ij,j->ik", d, inverse, m)

    dt = 0.05
    a = acceleration(x)
    for _ in range(4):
        v = v + 0.5 * dt * a
        x = x + dt * v
        a = acceleration(x)
        v = v + 0.5 * dt * a
    return 0.5 * np.sum(m[:, None] * v**2) + np.var(x)


@idiom(lambda r, t: (uniform(r, t, 6, 2, low=0, high=2), 1.0))
def lennard_jones_in_a_periodic_box(x, sigma, box=2.5, cutoff=1.2):
    i, j = np.triu_indices(len(x), k=1)
    d = x[i] - x[j]
    d -= box * np.round(d / box)
    r2 = np.sum(d * d, axis=-1) + 0.2
    s6 = (sigma**2 / r2) ** 3
    energy = 4 * (s6**2 - s6)
    return np.sum(np.where(r2 < cutoff**2, energy, 0.0)) * 1e-3


@idiom(lambda r, t: (normal(r, t, 6, 2), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]))
def springs_by_add_at(x, springs):
    """Forces gathered from ends of springs into nodes; Euler steps into the same array."""
    ends = np.array(springs)
    i, j = ends[:, 0], ends[:, 1]
    rest = np.full(len(ends), 0.8)
    v = np.zeros_like(x)
    x = x.copy()
    for _ in range(4):
        d = x[j] - x[i]
        length = np.linalg.norm(d, axis=1, keepdims=True)
        pull = 3.0 * (length - rest[:, None]) * d / length
        f = np.zeros_like(x)
        np.add.at(f, i, pull)
        np.subtract.at(f, j, pull)
        v += 0.1 * (f - 0.2 * v)
        x += 0.1 * v
    return np.sum(x**2) + np.sum(v**2)


# Rotations and rigid bodies


class Quaternion:
    """Arithmetic by operators; a rotation of vectors."""

    __slots__ = ("v", "w")

    def __init__(self, w, v):
        self.w, self.v = w, v

    def __mul__(self, other):
        if isinstance(other, Quaternion):
            return Quaternion(
                self.w * other.w - self.v @ other.v,
                self.w * other.v + other.w * self.v + np.cross(self.v, other.v),
            )
        return Quaternion(self.w * other, self.v * other)

    __rmul__ = __mul__

    def __invert__(self):
        return Quaternion(self.w, -self.v)

    def __abs__(self):
        return sqrt(self.w**2 + self.v @ self.v)

    def rotate(self, x):
        return (self * Quaternion(0.0, x) * ~self).v

    @classmethod
    def from_array(cls, q):
        return cls(q[0], q[1:])


@idiom(lambda r, t: (normal(r, t, 3, 4), normal(r, t, 4, 3), normal(r, t, 4, 3)))
def quaternions_with_operators(quaternions, points, targets):
    turns = [Quaternion.from_array(q) for q in quaternions]
    turn = reduce(lambda a, b: a * b, turns)
    turn = turn * (1 / abs(turn))
    return sum(np.sum((turn.rotate(p) - q) ** 2) for p, q in zip(points, targets, strict=True))


@idiom(lambda r, t: ((normal(r, t, 3), normal(r, t, 3, 3)), np.array([1.0, 2.0, 3.0], t)))
def rigid_body_by_euler(state, inertia):
    omega, R = state
    tensor, dt = np.diag(inertia), 0.05
    for _ in range(5):
        torque = -np.cross(omega, tensor @ omega)
        omega = omega + dt * torque / np.diag(tensor)
        x, y, z = omega
        hat = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        R = R @ (np.eye(3) + dt * hat + 0.5 * dt**2 * hat @ hat)
    return 0.5 * omega @ tensor @ omega + np.trace(R)


def homogeneous(angle, length, axis="z"):
    c, s = cos(angle), sin(angle)
    T = np.eye(4)
    if axis == "z":
        T[:2, :2] = [[c, -s], [s, c]]
    elif axis == "y":
        T[np.ix_([0, 2], [0, 2])] = np.array([[c, s], [-s, c]])
    else:
        raise ValueError(f"unknown axis {axis!r}")
    T[0, 3] = length
    return T


@idiom(lambda r, t: (normal(r, t, 4), np.array([1.0, 0.5, 0.3], t)))
def robot_arm(angles, target):
    """Frames multiplied along a chain; the axes alternate."""
    axes = ["z", "y"] * 2
    frames = [
        homogeneous(a, 0.5 + 0.1 * i, axis) for i, (a, axis) in enumerate(zip(angles, axes, strict=True))
    ]
    pose = reduce(np.matmul, frames)
    reach = pose @ np.array([0, 0, 0, 1.0])
    upright = pose[:3, 2] @ np.array([0.0, 0.0, 1.0])
    return np.sum((reach[:3] - target) ** 2) + 0.1 * (1 - upright)


@idiom(lambda r, t: (normal(r, t, 3), np.array([0.5, 0.5], t)))
def inverse_kinematics_by_jacobian(angles, target):
    """Steps along the transposed Jacobian of a planar arm."""

    def hand(q):
        total = np.cumsum(q)
        return np.array([np.sum(cos(total)), np.sum(sin(total))]) * 0.4

    jacobian = gradc.jacobian(hand)
    for _ in range(3):
        angles = angles + 0.5 * jacobian(angles).T @ (target - hand(angles))
    return np.sum((hand(angles) - target) ** 2)


@idiom(lambda r, t: (normal(r, t, 7, 3), normal(r, t, 4)))
def spherical_coordinates(points, moments):
    x, y, z = points.T
    r = np.sqrt(x**2 + y**2 + z**2)
    theta = np.arccos(z / r)
    phi = np.arctan2(y, x)
    harmonics = {
        (0, 0): np.full_like(theta, 0.5 / sqrt(pi)),
        (1, 0): sqrt(3 / (4 * pi)) * cos(theta),
        (1, 1): -sqrt(3 / (8 * pi)) * sin(theta) * cos(phi),
        (2, 0): sqrt(5 / (16 * pi)) * (3 * cos(theta) ** 2 - 1),
    }
    field = sum(c * harmonics[key] / r ** (key[0] + 1) for key, c in zip(harmonics, moments, strict=True))
    return np.sum(field**2)


# Fields on grids


def laplacian(u):
    return sum(np.roll(u, shift, axis=(0, 1)) for shift in STENCIL) - 4 * u


@idiom(lambda r, t: ((uniform(r, t, 5, 5), uniform(r, t, 5, 5)), t(0.04), t(0.06)))
def reaction_and_diffusion(fields, feed, kill):
    u, v = fields
    for _ in range(3):
        uvv = u * v * v
        u, v = (
            u + 0.2 * laplacian(u) - uvv + feed * (1 - u),
            v + 0.1 * laplacian(v) + uvv - (feed + kill) * v,
        )
    return np.mean(v**2) + np.ptp(u)


@idiom(lambda r, t: (normal(r, t, 5, 5), normal(r, t, 5, 5)))
def gauss_seidel_sweeps(source, boundary):
    """Loops that read what they have just written, on the inner points."""
    u = boundary.copy()
    n, m = u.shape
    for _ in range(2):
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - source[i, j])
    return np.sum(u[1:-1, 1:-1] ** 2)


@idiom(lambda r, t: (normal(r, t, 6, 6), normal(r, t, 6, 6)))
def red_and_black_relaxation(source, u):
    """Colours by masks of indices, updates by slices with steps of 2."""
    u = u.copy()
    i, j = np.indices(u.shape)
    inner = (i > 0) & (i < 5) & (j > 0) & (j < 5)
    for colour in (0, 1) * 2:
        mask = inner & ((i + j) % 2 == colour)
        neighbours = np.zeros_like(u)
        neighbours[1:-1, 1:-1] = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        u[mask] += 1.2 * (0.25 * (neighbours - source) - u)[mask]
    return np.sum(u[::2, 1::2] ** 2) + u[2, 3]


@idiom(lambda r, t: (normal(r, t, 12), uniform(r, t, 12, low=0.5, high=1.5)))
def wave_equation_with_three_levels(u, speed):
    previous, current, following = u, u.copy(), np.zeros_like(u)
    for _ in range(5):
        following[1:-1] = (
            2 * current[1:-1]
            - previous[1:-1]
            + 0.1 * speed[1:-1] ** 2 * (current[2:] - 2 * current[1:-1] + current[:-2])
        )
        following[0], following[-1] = following[1], -following[-2]
        previous, current, following = current, following, previous.copy()
    return np.dot(current, current)


@idiom(lambda r, t: (normal(r, t, 2, 5, 6) * t(0.3), uniform(r, t, 5, 6)))
def fluid_step(velocity, density):
    """Advection by bilinear interpolation backward, diffusion, and a projection by Jacobi steps."""
    h, w = density.shape
    yy, xx = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")

    def advect(field):
        y, x = (yy - velocity[0]) % h, (xx - velocity[1]) % w
        y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
        fy, fx = y - y0, x - x0
        y1, x1 = (y0 + 1) % h, (x0 + 1) % w
        top = (1 - fx) * field[y0 % h, x0 % w] + fx * field[y0 % h, x1]
        bottom = (1 - fx) * field[y1, x0 % w] + fx * field[y1, x1]
        return (1 - fy) * top + fy * bottom

    v, u = advect(velocity[0]), advect(velocity[1])
    density = advect(density)
    density += 0.1 * laplacian(density)
    divergence = (np.roll(v, -1, 0) - np.roll(v, 1, 0) + np.roll(u, -1, 1) - np.roll(u, 1, 1)) / 2
    p = np.zeros_like(divergence)
    for _ in range(3):
        p = (laplacian(p) + 4 * p - divergence) / 4
    v = v - (np.roll(p, -1, axis=0) - np.roll(p, 1, axis=0)) / 2
    u = u - np.gradient(p, axis=1)
    return np.sum(v**2 + u**2) + np.sum(density * xx) / 10


@idiom(lambda r, t: (normal(r, t, 16), t(0.1)))
def burgers_equation_upwind(u, viscosity):
    for _ in range(4):
        left, right = np.roll(u, 1), np.roll(u, -1)
        upwind = np.where(u > 0, u - left, right - u)
        u = u - 0.05 * u * upwind + viscosity * (right - 2 * u + left)
    return np.max(u) - np.min(u) + u @ u


@idiom(lambda r, t: (uniform(r, t, 6, 6), 3))
def soft_game_of_life(board, steps):
    kernel = np.ones((3, 3))
    kernel[1, 1] = 0
    for _ in range(steps):
        padded = np.pad(board, 1, mode="wrap")
        neighbours = sum(
            kernel[i, j] * padded[i : i + board.shape[0], j : j + board.shape[1]]
            for i, j in product(range(3), repeat=2)
        )
        birth = np.exp(-((neighbours - 3) ** 2))
        survive = np.exp(-((neighbours - 2.5) ** 2) / 2)
        board = (1 - board) * birth + board * survive
    return board.sum()


@idiom(lambda r, t: (normal(r, t, 8), normal(r, t, 8)))
def lattice_with_neighbours_by_take(phi, source):
    n = phi.size
    forward, backward = np.arange(n) + 1, np.arange(n) - 1
    gradient = np.take(phi, forward, mode="wrap") - phi
    curvature = phi.take(forward, mode="wrap") + phi.take(backward, mode="wrap") - 2 * phi
    return np.sum(0.5 * gradient**2 + 0.25 * phi**4 - source * phi) + np.abs(curvature).max()


# Structures


@idiom(lambda r, t: (uniform(r, t, 5, low=0.5, high=2.0), normal(r, t, 6)))
def finite_elements_of_a_bar(stiffness, load):
    """Element matrices added into a global one by index, then an elimination in place."""
    n = len(stiffness) + 1
    K = np.zeros((n, n))
    for e, k in enumerate(stiffness):
        dofs = [e, e + 1]
        K[np.ix_(dofs, dofs)] += k * np.array([[1, -1], [-1, 1]])
    K[0, :] = 0
    K[0, 0] = 1
    f = load.copy()
    f[0] = 0
    for i in range(n):
        for j in range(i + 1, n):
            factor = K[j, i] / K[i, i]
            K[j] -= factor * K[i]
            f[j] -= factor * f[i]
    u = np.zeros(n)
    for i in reversed(range(n)):
        u[i] = (f[i] - K[i, i + 1 :] @ u[i + 1 :]) / K[i, i]
    return u @ load


@idiom(lambda r, t: (uniform(r, t, 4, 2, low=-1, high=1), np.array([[0, 1, 2], [1, 3, 2], [0, 1, 3]])))
def mass_matrix_of_triangles(nodes, triangles):
    corners = nodes[triangles]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    element = (np.ones((3, 3)) + np.eye(3)) / 12
    M = np.zeros((len(nodes), len(nodes)))
    rows, columns = np.repeat(triangles, 3, axis=1), np.tile(triangles, (1, 3))
    np.add.at(M, (rows, columns), (area[:, None, None] * element).reshape(len(triangles), 9))
    assert np.shape(M) == (4, 4)
    return np.sum(M @ np.arange(4.0) ** 2) + np.max(M)


@idiom(lambda r, t: (normal(r, t, 5, 2), normal(r, t, 4)))
def truss_energy(free, forces):
    nodes = np.vstack([np.zeros((1, 2)), free, [[4.0, 0.0]]])
    bars = set(combinations(range(0, 7, 2), 2)) | {(i, i + 1) for i in range(6)}
    energy = 0.0
    for a, b in sorted(bars):
        stretch = np.hypot(*(nodes[a] - nodes[b])) - 1.0
        energy += 0.5 * stretch**2
    return energy - forces @ nodes[1:5, 1]


@idiom(lambda r, t: (uniform(r, t, 3, low=0.5, high=2.0),))
def circuit_through_time(components):
    """A resistor, an inductor and a capacitor, driven by a square wave; a window of the last values."""
    R, L, C = components
    window = deque(maxlen=4)
    q = i = 0.0
    for k, drive in zip(range(12), repeat(1.0), strict=False):
        voltage = drive if k % 4 < 2 else -drive
        i = i + 0.1 * (voltage - R * i - q / C) / L
        q = q + 0.1 * i
        window.append(q / C)
    return sum(v**2 for v in window) + np.array(window).mean()


@idiom(lambda r, t: (normal(r, t, 6), uniform(r, t, 6, low=0.2, high=1.0)))
def kuramoto_oscillators(phases, frequencies, coupling=0.5):
    step = partial(np.add, dtype=np.float64)
    for _ in range(5):
        pull = sin(np.subtract.outer(phases, phases)).sum(axis=0)
        phases = step(phases, 0.1 * (frequencies + coupling / len(phases) * pull))
    order = np.hypot(np.mean(cos(phases)), np.mean(sin(phases)))
    return order


class Vector(ty.NamedTuple):
    """Numbers one by one, with Python's own functions, as in a script that knows no arrays."""

    x: ty.Any
    y: ty.Any

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y)

    def scaled(self, k):
        return Vector(*(k * c for c in self))

    @property
    def length(self):
        return math.hypot(*self)

    def turned(self, angle):
        c, s = math.cos(angle), math.sin(angle)
        return Vector(*(np.array([[c, -s], [s, c]]) @ np.array(self)))


@idiom(lambda r, t: (np.array([20.0, 0.7, 0.02], t), 3.0))
def projectile_with_drag(shot, wind):
    speed, angle, drag = shot
    v, position = Vector(speed, 0.0).turned(angle), Vector(0.0, 1.5)
    highest, heights = position.y, []
    for _ in range(12):
        air = Vector(v.x - wind, v.y)
        v = v + air.scaled(-drag * air.length * 0.1) + Vector(0.0, -0.1 * GRAVITY)
        position = position + v.scaled(0.1)
        highest = max(highest, position.y)
        heights.append(position.y)
    low, *_, high = sorted(heights)
    return position.length + highest - min(low, 0) + math.sqrt(abs(high)) + math.fsum(heights) / len(heights)
