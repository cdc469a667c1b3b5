"""Edit: writing users' files: one layout, drift taken back, accounts that were imported."""
