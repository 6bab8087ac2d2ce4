import pytest
from tests.data.test_ingest import hour, trips

from setpoint.data.ingest import ingest
from setpoint.data.service import ListDatasets, ShowDataset, ls, show
from setpoint.db.local import LocalBackend
from setpoint.errors import NotFound


def test_datasets_are_listed_by_name_with_their_newest_version(
    backend: LocalBackend,
) -> None:
    ingest(backend, "trips", trips(9), hour(1))
    ingest(backend, "trips", trips(9), hour(2))
    ingest(backend, "cars", trips(9), hour(2))
    listed = backend.call(ls, ListDatasets()).datasets
    assert [(v.dataset, v.number) for v in listed] == [("cars", 1), ("trips", 2)]


def test_what_does_not_exist_is_said_with_the_nearest_name(backend: LocalBackend) -> None:
    ingest(backend, "trips", trips(2), hour(1))
    with pytest.raises(NotFound, match="no dataset 'trip'") as caught:
        backend.call(show, ShowDataset(dataset="trip"))
    assert caught.value.hint == "did you mean 'trips'?"
    with pytest.raises(NotFound, match="no version 7 of dataset 'trips'"):
        backend.call(show, ShowDataset(dataset="trips", number=7))
