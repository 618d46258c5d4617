"""What the process says of itself: records as text or JSON, and one line a request."""
