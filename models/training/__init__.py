"""What all trainers share: the next-item loss, batches, the device, and where independent trainings run."""
