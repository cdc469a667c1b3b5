"""The yardstick of an apply: threads that POST creates with httpx.Client and do nothing else."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import uuid
from queue import Empty, SimpleQueue

import httpx


def main(endpoint: str, count: int, threads: int) -> None:
    """Register `count` accounts with `threads` threads over one client."""
    work: SimpleQueue[int] = SimpleQueue()
    for number in range(count):
        work.put(number)
    limits = httpx.Limits(max_connections=threads, max_keepalive_connections=threads)
    with httpx.Client(base_url=endpoint, limits=limits, trust_env=False) as client:
        workers = [threading.Thread(target=post, args=(client, work)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def post(client: httpx.Client, work: SimpleQueue[int]) -> None:
    """Send signed creates until there is no more work."""
    while True:
        try:
            number = work.get_nowait()
        except Empty:
            return
        nonce, now = uuid.uuid4().hex, str(int(time.time()))
        text = f"demo-app-secret{nonce}{now}".encode()
        answer = client.post(
            "/im/v2/accounts",
            headers={
                "AppKey": "demo-app-key",
                "Nonce": nonce,
                "CurTime": now,
                "CheckSum": hashlib.sha1(text, usedforsecurity=False).hexdigest(),
            },
            json={
                "account_id": f"user-{number:07}",
                "user_information": {
                    "name": f"客服 {number}",
                    "avatar": f"https://cdn.example.com/{number}.png",
                    "sign": "hello",
                    "email": f"u{number}@example.com",
                },
                "configuration": {"p2p_chat_banned": False, "team_chat_banned": True},
            },
        )
        assert answer.json()["code"] == 200, answer.text


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
