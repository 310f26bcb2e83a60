"""Whether the content of a store that never syncs may be believed when it is opened again.

Content written under the boot id of now is intact: only an operating-system crash loses what was
not synced. Content that was synced and closed is intact whatever the boot id.
"""

from __future__ import annotations

import logging
from shutil import copyfile
from typing import TYPE_CHECKING

from cluster.storage.files import sync_path

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)


class Trust:
    """The files that say whether the content of the directory may be believed."""

    def __init__(self, path: Path, boot_id: str | None) -> None:
        self._path = path
        self._boot_id = boot_id
        self._boot = path / "boot"
        self._clean = path / "clean"
        self._content = (path / "data.mdb", path / "lock.mdb")
        self._is_clean = False

    def prepare(self, source: Path | None) -> None:
        """Before LMDB opens: removes content that is not to be believed, notes the boot id.

        A crash while the content is replaced by that of `source` leaves what is not believed.
        """
        if not self._path.exists():
            self._path.mkdir(parents=True)
            sync_path(self._path.parent)
        self._is_clean = self._clean.exists()
        same_boot = self._boot_id is not None and self._read_boot() == self._boot_id
        if source is not None:
            self._replace_by(source)
        elif not self._is_clean and not same_boot and self._content[0].exists():
            _log.warning(
                "%s: not stopped cleanly before a reboot; emptied, to be rebuilt", self._path
            )
            self._remove_content()
        # Only now: a crash before this line must not make the old content look like this boot's.
        if source is not None or not same_boot:
            _write_synced(self._boot, self._boot_id or "")

    def revoke(self) -> None:
        """Before the first write: from here on only the boot id vouches for the content."""
        if self._is_clean:
            self._clean.unlink()
            sync_path(self._path)
            self._is_clean = False

    def declare_clean(self) -> None:
        """After LMDB synced and closed."""
        if not self._is_clean:
            _write_synced(self._clean, self._boot_id or "")

    def disown(self) -> None:
        """The content could not be synced: the next start rebuilds it, whatever the boot."""
        self._boot.unlink(missing_ok=True)

    def _replace_by(self, source: Path) -> None:
        self.revoke()
        self._boot.unlink(missing_ok=True)
        self._remove_content()
        copyfile(source, self._content[0])

    def _read_boot(self) -> str | None:
        try:
            return self._boot.read_text()
        except FileNotFoundError:
            return None

    def _remove_content(self) -> None:
        for file in self._content:
            file.unlink(missing_ok=True)
        sync_path(self._path)


def _write_synced(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.write(text)
    sync_path(temporary)
    temporary.replace(path)
    sync_path(path.parent)
