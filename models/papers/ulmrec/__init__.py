"""ULMRec (Shao et al., "ULMRec: User-centric Large Language Model for Sequential Recommendation", 2025)."""
