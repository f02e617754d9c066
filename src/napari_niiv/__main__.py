"""`python -m napari_niiv` is `napari-niiv`."""

import sys

from napari_niiv.cli import main

if __name__ == "__main__":
    sys.exit(main())
