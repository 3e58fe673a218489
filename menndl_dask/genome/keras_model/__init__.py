"""Genomes and Keras models: from one to the other, and the files of saved networks. Runs where Keras is."""
