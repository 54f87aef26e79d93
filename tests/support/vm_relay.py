"""Standard input and output of this process, carried to a port of this machine and back: how a guest's connection reaches one broker
and nothing else (QEMU starts one process a connection)."""

from __future__ import annotations

import os
import select
import socket
import sys


def main(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        ways = {0: line.fileno(), line.fileno(): 1}
        while True:
            for source in select.select(list(ways), [], [])[0]:
                if not (data := os.read(source, 65536)):
                    return
                while data:
                    data = data[os.write(ways[source], data) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
