"""Files of results."""

import pytest
import synthetic
import xarray as xr
from explained import explains

import modecomb_viz as mc
from modecomb_viz.results import label, write_whole


def test_round_trip(tmp_path):
    path = mc.save(synthetic.plane(), tmp_path / "deep" / "x.nc")
    xr.testing.assert_identical(mc.open(path), synthetic.plane())


def test_zarr_round_trip(tmp_path):
    path = tmp_path / "x.zarr"
    for dataset in (synthetic.segment(), synthetic.plane()):
        assert mc.save(dataset, path) == path
        xr.testing.assert_identical(mc.open(path), dataset)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    (tmp_path / ".part-x.zarr" / "loss").mkdir(parents=True)
    mc.save(dataset, path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    (tmp_path / "folder.zarr").mkdir()
    with explains("cannot write", "folder.zarr", "it is a folder"):
        mc.save(synthetic.plane(), tmp_path / "folder.zarr")
    with explains("no result at", "folder.zarr"):
        mc.open(tmp_path / "folder.zarr")
    for damage in ("no JSON", "{}"):
        (path / "loss" / ".zarray").write_text(damage)
        with explains("x.zarr", "not a Zarr store"):
            mc.open(path)


def test_bad_files_are_explained(tmp_path):
    with explains("must end in '.nc' or '.zarr'", "x.csv"):
        mc.save(synthetic.plane(), tmp_path / "x.csv")
    with explains("cannot write '/proc/x.nc'"):
        mc.save(synthetic.plane(), "/proc/x.nc")
    with explains("no result at", "none.nc"):
        mc.open(tmp_path / "none.nc")
    (tmp_path / "broken.nc").write_text("no netCDF")
    with explains("broken.nc", "not a NetCDF file"):
        mc.open(tmp_path / "broken.nc")
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    with explains("no 'recipe' attribute"):
        mc.open(tmp_path / "foreign.nc")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = mc.save(synthetic.segment(), tmp_path / "x.nc")

    def fail(part):
        part.write_text("half")
        raise OSError(28, "no space left")

    with explains("cannot write", "no space left"):
        write_whole(path, fail)
    xr.testing.assert_identical(mc.open(path), synthetic.segment())
    assert [p.name for p in tmp_path.iterdir()] == ["x.nc"]


def test_a_variable_without_units_is_refused():
    with pytest.raises(KeyError, match="surprise"):
        label(xr.Dataset({"surprise": 1.0}))
