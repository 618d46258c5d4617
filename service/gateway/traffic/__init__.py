"""How much is taken on at one time, and what is answered from memory."""
