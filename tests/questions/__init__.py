"""The question pack against a planted fleet: what is known to be there is found, nothing else."""
