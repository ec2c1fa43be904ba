"""`python -m txlog.lease_keeper`: started by `txlog.client.lease_keeper`, never by people."""

import sys

from txlog.lease_keeper.process import main

if __name__ == "__main__":
    main(sys.argv[1:])
