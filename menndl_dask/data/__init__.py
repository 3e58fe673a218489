"""Labelled images become a problem and samples."""
