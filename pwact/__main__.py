"""`python -m pwact` is `pwact`."""

from pwact.cli import main

if __name__ == "__main__":
    main()
