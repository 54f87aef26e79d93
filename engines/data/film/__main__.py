"""Entry of `python -m engines.data.film`; the sheets are made in `sheet`."""

from engines.data.film.sheet import main

raise SystemExit(main())
