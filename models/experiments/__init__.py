"""What is made of finished runs: the lists that are measured, tuned baselines, studies over seeds, sweeps."""
