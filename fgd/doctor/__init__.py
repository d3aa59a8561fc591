"""`fgd doctor`: what an installation can do; what could crash is tried by `probes`, apart."""
