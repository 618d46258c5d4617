"""Equations 1 and 2 of L3Rec, computed by hand."""

import math
from typing import get_args

import numpy as np
import pytest

from models.contract.affinity import (
    Kernel,
    affinities,
    arccos_distance,
    kernel_weights,
    memberships,
    smallest_cosine,
    unit,
)
from models.contract.types import Floats

kernels = pytest.mark.parametrize("kernel", get_args(Kernel))


def at_degrees(*angles: float, length: float = 1.0) -> Floats:
    """Vectors in the plane at these angles."""
    radians = np.radians(angles)
    return (length * np.stack([np.cos(radians), np.sin(radians)], axis=1)).astype(np.float32)


def test_distance_is_the_angle_in_right_angles() -> None:
    distance = arccos_distance(at_degrees(0), at_degrees(0, 30, 90, 180))
    np.testing.assert_allclose(distance[:, 0], [0, 1 / 3, 1, 2], atol=1e-3)


def test_distance_has_a_row_per_user_and_a_column_per_anchor() -> None:
    distance = arccos_distance(at_degrees(0, 90), at_degrees(0, 45, 90))
    np.testing.assert_allclose(distance, [[0, 1], [0.5, 0.5], [1, 0]], atol=1e-3)


def test_length_of_a_vector_does_not_matter() -> None:
    distance = arccos_distance(at_degrees(0, length=1e-4), at_degrees(60, length=1e4))
    assert distance.item() == pytest.approx(2 / 3, abs=1e-5)


@kernels
def test_zero_vector_is_far_from_everything_and_a_member_of_nothing(kernel: Kernel) -> None:
    zero = np.zeros((1, 2), np.float32)
    assert arccos_distance(at_degrees(0), zero).item() == arccos_distance(zero, at_degrees(0)).item() == 2.0
    assert affinities(at_degrees(0), zero, 2.0, kernel).item() == 0.0


def test_rounding_beyond_one_gives_no_nan() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 128)).astype(np.float32)
    assert np.isfinite(arccos_distance(vectors, vectors)).all()


def test_kernel_is_one_at_the_anchor_and_zero_from_the_bandwidth_on() -> None:
    distance = np.array([0.0, 0.5, 0.79, 0.8, 1.5], np.float32)
    weights = kernel_weights(distance, 0.8, "epanechnikov")
    np.testing.assert_allclose(weights, [1.0, 0.75, 1 - 0.79**2, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(kernel_weights(distance, 0.8, "uniform"), [1, 1, 1, 0, 0])
    sigma = 0.4  # the bandwidth is two of them
    gaussian = [math.exp(-(s**2) / (2 * sigma**2)) for s in (0.0, 0.5, 0.79)]
    np.testing.assert_allclose(kernel_weights(distance, 0.8, "gaussian"), [*gaussian, 0.0, 0.0], rtol=1e-6)


@kernels
def test_beyond_a_right_angle_weights_stay_positive_up_to_the_bandwidth(kernel: Kernel) -> None:
    weights = kernel_weights(np.array([0.0, 1.0, 1.49, 1.5, 1.7], np.float32), 1.5, kernel)
    np.testing.assert_array_equal(weights > 0, [True, True, True, False, False])
    assert weights[0] == 1.0


def test_epanechnikov_is_scaled_by_the_bandwidth_beyond_a_right_angle() -> None:
    weights = kernel_weights(np.array([0.5, 1.0], np.float32), 2.0, "epanechnikov")
    np.testing.assert_allclose(weights, [1 - 0.25**2, 1 - 0.5**2])


@kernels
def test_kernels_fall_with_distance_and_agree_who_is_a_member(kernel: Kernel) -> None:
    distance = np.linspace(0, 2, 101, dtype=np.float32)
    weights = kernel_weights(distance, 0.6, kernel)
    np.testing.assert_array_equal(weights > 0, distance < 0.6)
    assert (np.diff(weights) <= 0).all()


@pytest.mark.parametrize("bandwidth", [0.1, 0.5, 0.99, 1.0, 1.3, 2.0])
def test_the_smallest_cosine_stands_for_the_bandwidth(bandwidth: float) -> None:
    users = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    cosine = unit(users) @ unit(users).T
    weights = affinities(users, users, bandwidth, "uniform")
    np.testing.assert_array_equal(cosine > smallest_cosine(bandwidth), weights > 0)


def test_affinities_follow_the_angle() -> None:
    weights = affinities(at_degrees(0, 90), at_degrees(30, 120), 1.0, "epanechnikov")
    np.testing.assert_allclose(weights, [[1 - (1 / 3) ** 2, 1 - (2 / 3) ** 2], [0, 1 - (1 / 3) ** 2]], atol=1e-5)


def test_memberships_come_nearest_first_and_ties_by_number() -> None:
    found = memberships(np.array([0.2, 0.0, 0.9, 0.2], np.float32))
    assert [m.community for m in found] == [2, 0, 3]
    assert [m.cf_weight for m in found] == pytest.approx([0.9, 0.2, 0.2])


def test_user_of_no_community_has_no_memberships() -> None:
    assert memberships(np.zeros(3, np.float32)) == ()


def test_angle_is_exact_enough_for_float32() -> None:
    assert arccos_distance(at_degrees(0), at_degrees(36)).item() == pytest.approx(2 / math.pi * math.radians(36))
