"""The gateway: one HTTP endpoint in front of many local models. No torch in this process."""
