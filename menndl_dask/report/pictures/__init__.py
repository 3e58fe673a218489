"""Pictures of a search, of the scores by class and of test samples, for report, live tab and notebook."""
