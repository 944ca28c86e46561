"""Be the platform: start the container's entry point, ask it, end it. All in one container.

Reads an order (JSON) from stdin and writes what happened to stdout.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request


def ask(method, url, body=None, headers=None):
    """Status and text; 0 while nobody answers."""
    data = None if body is None else body.encode()
    headers = headers or {"Content-Type": "text/plain"}  # urllib would say that it is a form
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
    except OSError as error:
        return [0, str(error)]


def is_ready(status, text):
    """Whether the platform would send requests."""
    return status == 200 and '"ready": false' not in text


def main():
    order = json.load(sys.stdin)
    environ = {**os.environ, **order["environ"]}
    # The console goes to our stderr, which a failing test shows.
    server = subprocess.Popen(order["command"], env=environ, stdout=sys.stderr)
    deadline = time.monotonic() + 60
    while not is_ready(*ask("GET", order["ready"])) and server.poll() is None:
        if time.monotonic() > deadline:
            server.kill()
            sys.exit("it is not ready")
        time.sleep(0.1)
    answers = [ask(*each) for each in order["asks"]] if server.poll() is None else []
    codes = [
        subprocess.run(each, env=environ, check=False, capture_output=True).returncode
        for each in order["commands"]
    ]
    server.send_signal(signal.SIGTERM)
    result = {"answers": answers, "codes": codes, "exit": server.wait(30)}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
