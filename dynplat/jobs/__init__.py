"""The whole jobs behind the commands, one a file: from a file to a table, a picture and a sentence.

Everything that can be refused is refused before the fit; everything is computed before anything is written; each file
is written whole or not at all.
"""
