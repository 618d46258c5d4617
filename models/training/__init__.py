"""What all trainers share: losses, those that diverge, batches, the device, and where independent trainings run."""
