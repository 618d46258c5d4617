"""What stands for a user in logs."""

from service.gateway.privacy import hashed


def test_a_hash_is_the_same_everywhere_and_does_not_hold_the_id():
    assert hashed("ann") == "8d3adf6abf23f3a5"
    assert hashed("ann") != hashed("bob")
