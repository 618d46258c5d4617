"""L2Rec ("L2Rec: Towards Dual-View Understanding of LLMs for Personalized Recommendation", 2026)."""
