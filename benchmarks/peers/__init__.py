"""Peers: installed into .freshness/bench from their registries on first use; none is a dependency of the product."""
