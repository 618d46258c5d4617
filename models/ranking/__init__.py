"""The service's ranking offline: every voter's answers, what they are fused to, and how the fusion is chosen."""
