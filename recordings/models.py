"""Recordings: one medium of one session, made of segments with gaps."""
