"""What every test needs: shape types are checked, and the cores are shared."""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import install_import_hook

# Before anything imports pixelwright: jaxtyping annotations are then enforced at run time.
install_import_hook("pixelwright", "beartype.beartype")

# Tests run side by side: two threads each wait for one another and take three times as long.
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIXELWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> None:
    """A test that draws weights draws the same alone, in any order and in any worker."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests begin, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: "slow" not in item.keywords)
