"""Networks that training and our engine both run, so that they stand once; torch, and the contract."""
