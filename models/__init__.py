"""Offline half of LocalRec (data, training, evaluation, publishing) and the contract that the service shares."""
