"""Offline half of LocalRec (data, training, evaluation, publishing) and the contract that it shares with the service."""
