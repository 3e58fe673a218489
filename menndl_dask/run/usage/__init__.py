"""What a run did with its workers: FLOPs, time by phase, energy and convergence, computed from its journal."""
