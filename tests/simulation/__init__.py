"""The simulation: the product's own parts on real PostgreSQL against the sandbox, one step at a time, from one seed."""
