"""Sessions of several processes: xdist's workers, shards, what a dead one leaves to do."""
