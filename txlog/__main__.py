"""`python -m txlog` is `txlog`."""

from txlog.cli import main

if __name__ == "__main__":
    main()
