"""``python -m localrec`` is ``localrec``."""

from localrec.cli import main

main()
