"""Many machines: a plan as chunks on a queue in PostgreSQL, which workers carry out."""
