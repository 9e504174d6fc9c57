"""`python -m dynplat` equals `dynplat`."""

from dynplat.cli import main

if __name__ == "__main__":
    main()
