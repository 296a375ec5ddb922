import hashlib
import os

import pytest

from recombine import manifest


class Bad(Exception):
    pass


@pytest.mark.parametrize("size", ["size", "bytes"])
def test_an_entry_holds_size_and_sha256_and_is_checked_whatever_it_calls_the_size(tmp_path, size):
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "a").write_bytes(data)
    entry = manifest.entry(tmp_path / "a", size)
    assert entry == {size: len(data), "sha256": hashlib.sha256(data).hexdigest()} == manifest.entry(data, size)
    assert manifest.read(tmp_path, "a", entry, Bad) == data
    manifest.check(tmp_path, "a", entry, Bad)
    (tmp_path / "a").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    manifest.check(tmp_path, "a", entry, Bad, content=False)
    for damaged in (manifest.check, manifest.read):
        with pytest.raises(Bad) as caught:
            damaged(tmp_path, "a", entry, Bad)
        assert caught.value.args == (tmp_path, "a", f"SHA-256 {entry['sha256']}", f"SHA-256 {manifest.sha256(tmp_path / 'a')}"[8:])
    (tmp_path / "a").write_bytes(data[:-1])
    with pytest.raises(Bad, match=f"{len(data)} bytes.*{len(data) - 1} bytes"):
        manifest.check(tmp_path, "a", entry, Bad, content=False)
    (tmp_path / "a").unlink()
    with pytest.raises(Bad, match="no file"):
        manifest.read(tmp_path, "a", entry, Bad)
    with pytest.raises(Bad, match="plain file names"):
        manifest.check(tmp_path, "../a", entry, Bad)
