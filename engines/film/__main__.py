"""Entry of `python -m engines.film`; the sheets are made in `sheet`."""

from engines.film.sheet import main

raise SystemExit(main())
