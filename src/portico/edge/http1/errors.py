"""What a reader raises when bytes break the grammar."""

from __future__ import annotations


class HeadError(Exception):
    """A head or body that is refused: the `status` to answer with, a `code` for machines, a `detail` for people.

    After one the connection can't be read further: answer, then close. `detail` never repeats what came.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail
