"""What `programs.environment` has in place of Python: run a program in a process that is forked from the server.

forked_python.py <address of the server> <script> [arguments]
"""

import json
import os
import socket
import sys


def connect(address: str, words: list[str], cwd: str, environment: dict, streams: list, file_size: int = 0):
    """Start a program; returns a connection, which gets its process number, and its exit code when it has ended."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("\0" + address)
    data = json.dumps([words, cwd, environment, file_size]).encode()
    connection.sendall(len(data).to_bytes(4, "big"))
    sent = socket.send_fds(connection, [data], streams)
    connection.sendall(data[sent:])
    return connection


if __name__ == "__main__":
    connection = connect(sys.argv[1], sys.argv[2:], os.getcwd(), dict(os.environ), [0, 1, 2])
    connection.recv(4)
    code = int.from_bytes(connection.recv(4), "big", signed=True)
    sys.exit(code if code >= 0 else 128 - code)
