"""The command line of LocalRec, and what only it needs: here training and service meet."""
