"""L3Rec: Local Large Language Models for Recommendation (Jeon, Kim, Lee; CIKM 2025, doi 10.1145/3746252.3761280)."""
