"""Cluster profiles that are shipped: one YAML file each."""
