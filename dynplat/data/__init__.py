"""Trajectories and Snapshots, their readers and writers, hold-outs and the catalogue of public data sets."""
