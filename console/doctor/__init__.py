"""What `freshness doctor` looks at, one module a part of the house; each finding is a line: ok, warn or fail."""
