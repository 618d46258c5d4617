"""Several gateway processes behind one listening socket: who starts them, and what they tell together."""
